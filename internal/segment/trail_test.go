package segment

import "testing"

func TestDescribe(t *testing.T) {
	const client, server = 0, 1
	trails := []*Trail{{first: 1<<32 - 1, next: 9}, {first: 500, next: 501}}
	for _, tt := range []struct {
		from int
		s    Segment
		want string
	}{
		{client, Segment{Seq: 9, Ack: 501, Flags: PSH | ACK, Window: 7, Length: 3}, "PSH+ACK seq 10 ack 1 3 bytes"}, // numbers have wrapped
		{server, Segment{Seq: 501, Ack: 3, Flags: ACK}, "ACK ack 4 window 0"},
		{server, Segment{Seq: 500, Ack: 3, Flags: ACK, Window: 7}, "ACK seq 0 ack 4"}, // a probe
		{client, Segment{Seq: 77, Flags: SYN, Window: 7}, "SYN seq 0"},                // of another connection
	} {
		if got := trails[tt.from].Describe(&tt.s, trails[1-tt.from]); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A connection's segments, one after the other, with the label that each has.
func TestLabels(t *testing.T) {
	const client, server = 0, 1
	const fin, syn, ack, rst = FIN, SYN, ACK, RST
	for name, segments := range map[string][]struct {
		from int
		s    Segment
		want string
	}{
		"handshake": {
			{client, Segment{Flags: syn, Seq: 100}, ""},
			{client, Segment{Flags: syn, Seq: 100}, Retransmission},
			{server, Segment{Flags: syn | ack, Seq: 500, Ack: 101}, ""},
			{server, Segment{Flags: syn | ack, Seq: 500, Ack: 101}, Retransmission},
			{client, Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, ""},
			{client, Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, DuplicateACK},
			{client, Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9, Length: 10}, ""},
			{client, Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9, Length: 10}, Retransmission},
			{client, Segment{Flags: fin | ack, Seq: 111, Ack: 501, Window: 9}, ""},
			{client, Segment{Flags: fin | ack, Seq: 111, Ack: 501, Window: 9}, Retransmission},
			{server, Segment{Flags: rst | ack, Seq: 501, Ack: 112}, ""},
			{client, Segment{Flags: syn, Seq: 7000}, ""}, // the same ports, another connection
		},
		"simultaneous open": {
			{client, Segment{Flags: syn, Seq: 100}, ""},
			{server, Segment{Flags: syn, Seq: 500}, ""},
			{client, Segment{Flags: syn | ack, Seq: 100, Ack: 501}, ""},
			{server, Segment{Flags: syn | ack, Seq: 500, Ack: 101}, ""},
			{client, Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, ""},
			{client, Segment{Flags: syn | ack, Seq: 100, Ack: 501}, Retransmission},
		},
		"probes": {
			{client, Segment{Flags: syn, Seq: 1<<32 - 1}, ""},
			{server, Segment{Flags: syn | ack, Seq: 500, Ack: 0}, ""},
			{client, Segment{Flags: ack, Seq: 0, Ack: 501, Window: 9}, ""},
			{client, Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9}, KeepaliveProbe},
			{server, Segment{Flags: ack, Seq: 501, Ack: 0, Window: 9}, ProbeAnswer}, // its first one after the SYN
			{client, Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9}, KeepaliveProbe},
			{server, Segment{Flags: ack, Seq: 501, Ack: 0, Window: 9}, ProbeAnswer},
			{client, Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9, Length: 1}, KeepaliveProbe}, // as BSD had it
			{client, Segment{Flags: ack, Seq: 0, Ack: 501, Window: 9, Length: 5}, ""},
			{server, Segment{Flags: ack, Seq: 501, Ack: 5}, ""}, // and the window is closed
			{client, Segment{Flags: ack, Seq: 4, Ack: 501, Window: 9}, WindowProbe},
			{server, Segment{Flags: ack, Seq: 501, Ack: 5}, ProbeAnswer},
			{server, Segment{Flags: ack, Seq: 501, Ack: 5, Window: 9}, WindowUpdate},
		},
	} {
		trails := [2]*Trail{}
		for i, tt := range segments {
			after, got := trails[tt.from].Add(&tt.s, trails[1-tt.from])
			if got != tt.want {
				t.Errorf("%s, segment %d: %q, want %q", name, i, got, tt.want)
			}
			trails[tt.from] = after
		}
	}
}
