package pcap_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/vishvananda/netlink"

	"tcpbench/internal/alone"
	"tcpbench/internal/pcap"
)

// Each device is an interface of the file; every packet has its bytes and the time at which
// the kernel saw it.
func TestCapture(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	alone.Veth(t, netlink.NewLinkAttrs(), "10.9.0.1/24")
	alone.Silence(t, "10.9.0.2")
	began := time.Now()
	var file bytes.Buffer
	c := pcap.NewCapture(&file)
	var ends []func() error
	for _, device := range []string{"lo", "v0"} {
		end, err := c.Record(device)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	for _, to := range []string{"127.0.0.1:9", "10.9.0.2:9"} {
		u, err := net.Dial("udp", to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte(to)); err != nil {
			t.Fatal(err)
		}
		u.Close()
	}
	if err := errors.Join(ends[0](), ends[1](), c.Flush()); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{} // where to, by the device
	n := uint64(0)
	for ; ; n++ {
		b, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := r.Interface(info.InterfaceIndex)
		if err != nil || i.LinkType != layers.LinkTypeEthernet {
			t.Fatalf("interface %d: %+v, %v", info.InterfaceIndex, i, err)
		}
		if info.Timestamp.Before(began) || info.Timestamp.After(time.Now()) || info.CaptureLength != info.Length {
			t.Errorf("%+v", info)
		}
		p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
		if u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && u.DstPort == 9 {
			said[i.Name] = string(u.Payload)
		}
	}
	if n != c.Packets || c.Dropped != 0 || said["lo"] != "127.0.0.1:9" || said["v0"] != "10.9.0.2:9" {
		t.Errorf("%d packets of %d, %d dropped: %v", n, c.Packets, c.Dropped, said)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestCaptureThatCannotBeWritten(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	c := pcap.NewCapture(full{})
	end, err := c.Record("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(end(), c.Flush()); err == nil {
		t.Error("nothing was written, and no error says so")
	}
}
