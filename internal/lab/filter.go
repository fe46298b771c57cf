package lab

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Packets are lost where they arrive, before the receiver's stack: a sender would notice
// one that is dropped on its own side, and not behave as on a lossy path.

const tableName = "tcpbench-lab"

// lose makes the host lose packets that arrive, in place of those that it lost before.
func (h *Host) lose(i *Impairment) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(h.namespace.Fd())))
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	// A table that is not there cannot be deleted: it is added first.
	conn.DelTable(conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}))
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tableName})
	chain := conn.AddChain(&nftables.Chain{
		Name: "arrive", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
	})
	for _, match := range lossRules(i) {
		// What the host says to itself is not on the link.
		exprs := append([]expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: append([]byte("lo"), make([]byte, unix.IFNAMSIZ-2)...)},
		}, match...)
		exprs = append(exprs, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("packet filter (does this kernel have nf_tables?): %w", err)
	}
	return nil
}

// lossRules are matches of the packets to lose.
func lossRules(i *Impairment) (rules [][]expr.Any) {
	for _, f := range i.Drop {
		rules = append(rules, []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1}, // the flags
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{byte(looked)}, Xor: []byte{0}},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(f)}},
		})
	}
	if i.Every > 0 {
		rules = append(rules, []expr.Any{
			&expr.Numgen{Register: 1, Modulus: i.Every, Type: unix.NFT_NG_INCREMENTAL},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, i.Every-1)},
		})
	}
	if i.Loss > 0 {
		const parts = 1 << 30
		rules = append(rules, []expr.Any{
			&expr.Numgen{Register: 1, Modulus: parts, Type: unix.NFT_NG_RANDOM},
			// Numbers are compared as the network writes them.
			&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, uint32(math.Round(i.Loss*parts)))},
		})
	}
	return rules
}

// lost is how many packets the host has lost on purpose by the present rules.
func (h *Host) lost() (n uint64, err error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(h.namespace.Fd())))
	if err != nil {
		return 0, fmt.Errorf("packet filter: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	rules, err := conn.GetRules(table, &nftables.Chain{Name: "arrive", Table: table})
	if err != nil {
		return 0, fmt.Errorf("packet filter: %w", err)
	}
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				n += c.Packets
			}
		}
	}
	return n, nil
}
