package trace

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// layout is the offsets, in bytes, of what the programs read in the running kernel.
type layout struct {
	sport                int16 // of struct inet_sock
	dport, family, state int16 // of struct sock_common
	saddr, daddr         int16 // of IPv4
	saddr6, daddr6       int16 // the last four bytes of IPv6
	net                  int16 // of struct sock_common
	head, transport, dev int16 // of struct sk_buff
	devNet               int16 // of struct net_device
	inum                 int16 // of struct net
}

func layoutOf(types *btf.Spec) (*layout, error) {
	var inet, sock, skb, device, space *btf.Struct
	for name, to := range map[string]**btf.Struct{"inet_sock": &inet, "sock_common": &sock, "sk_buff": &skb, "net_device": &device, "net": &space} {
		if err := types.TypeByName(name, to); err != nil {
			return nil, fmt.Errorf("struct %s: %w", name, err)
		}
	}
	l := &layout{}
	for _, f := range []struct {
		in   *btf.Struct
		name string
		plus int16
		to   *int16
	}{
		{inet, "inet_sport", 0, &l.sport}, {sock, "skc_dport", 0, &l.dport}, {sock, "skc_family", 0, &l.family}, {sock, "skc_state", 0, &l.state},
		{sock, "skc_rcv_saddr", 0, &l.saddr}, {sock, "skc_daddr", 0, &l.daddr},
		{sock, "skc_v6_rcv_saddr", 12, &l.saddr6}, {sock, "skc_v6_daddr", 12, &l.daddr6},
		{sock, "skc_net", 0, &l.net}, {skb, "dev", 0, &l.dev}, {device, "nd_net", 0, &l.devNet}, {space, "ns.inum", 0, &l.inum},
		{skb, "head", 0, &l.head}, {skb, "transport_header", 0, &l.transport},
	} {
		offset, ok := offsetOf(f.in.Members, f.name)
		if !ok {
			return nil, fmt.Errorf("struct %s of this kernel has no %s", f.in.Name, f.name)
		}
		*f.to = int16(offset) + f.plus
	}
	return l, nil
}

// offsetOf finds a member, also in structs and unions without a name. A dot separates the names of a
// struct and of its member.
func offsetOf(members []btf.Member, name string) (uint32, bool) {
	outer, rest, nested := strings.Cut(name, ".")
	for _, m := range members {
		if m.Name == name {
			return m.Offset.Bytes(), true
		}
		within := name
		switch {
		case nested && m.Name == outer:
			within = rest
		case m.Name != "":
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if offset, ok := offsetOf(inner, within); ok {
			return m.Offset.Bytes() + offset, true
		}
	}
	return 0, false
}

// reasonsOf are the kernel's names of reset reasons (enum sk_rst_reason) without their prefix. Kernels
// before 6.10 have none.
func reasonsOf(types *btf.Spec) map[uint32]string {
	named := map[uint32]string{}
	var enum *btf.Enum
	if types.TypeByName("sk_rst_reason", &enum) != nil {
		return named
	}
	for _, v := range enum.Values {
		named[uint32(v.Value)] = strings.TrimPrefix(v.Name, "SK_RST_REASON_")
	}
	return named
}
