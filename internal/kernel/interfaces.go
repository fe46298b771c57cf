package kernel

import (
	"net"
	"net/netip"
	"path"
	"runtime"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// Interfaces describes the devices by which this network namespace reaches targets on
// other hosts. It never fails: what cannot be found out is left out.
func Interfaces(targets []netip.AddrPort) []metrics.Interface {
	own, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var all []metrics.Interface
	for _, t := range targets {
		source, ok := sourceFor(t)
		if !ok || source == t.Addr().Unmap() {
			continue
		}
		for _, i := range own {
			known := slices.ContainsFunc(all, func(k metrics.Interface) bool { return k.Name == i.Name })
			if !known && i.Flags&net.FlagLoopback == 0 && has(&i, source) {
				all = append(all, describe(&i))
			}
		}
	}
	return all
}

// sourceFor asks the routing table from which address a target is reached. A UDP socket
// that connects sends nothing.
func sourceFor(target netip.AddrPort) (netip.Addr, bool) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), true
}

func has(i *net.Interface, a netip.Addr) bool {
	addrs, err := i.Addrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(own net.Addr) bool {
		p, err := netip.ParsePrefix(own.String())
		return err == nil && p.Addr().Unmap() == a.WithZone("")
	})
}

// flagLRO is ETH_FLAG_LRO of linux/ethtool.h.
const flagLRO = 1 << 15

func describe(i *net.Interface) metrics.Interface {
	d := metrics.Interface{Name: i.Name, MTU: i.MTU, Offloads: []string{}}
	root, dir := files("/"), path.Join("sys/class/net", i.Name)
	// What is mounted there may show another namespace's devices.
	if root.text(path.Join(dir, "ifindex")) == strconv.Itoa(i.Index) {
		if n, err := strconv.Atoi(root.text(path.Join(dir, "speed"))); err == nil && n > 0 {
			d.Speed = n
		}
		d.RxQueues = len(root.glob(path.Join(dir, "queues/rx-*/rps_cpus")))
		d.TxQueues = len(root.glob(path.Join(dir, "queues/tx-*/xps_cpus")))
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return d
	}
	defer unix.Close(fd)
	if info, err := unix.IoctlGetEthtoolDrvinfo(fd, i.Name); err == nil {
		d.Driver = unix.ByteSliceToString(info.Driver[:])
	}
	var channels ethtoolChannels
	channels.cmd = unix.ETHTOOL_GCHANNELS
	if ethtool(fd, i.Name, unsafe.Pointer(&channels)) == nil {
		d.RxQueues, d.TxQueues = int(channels.rx+channels.combined), int(channels.tx+channels.combined)
	}
	for _, o := range []struct {
		name string
		get  uint32
	}{
		{"rx-checksum", unix.ETHTOOL_GRXCSUM}, {"tx-checksum", unix.ETHTOOL_GTXCSUM}, {"tso", unix.ETHTOOL_GTSO},
		{"gso", unix.ETHTOOL_GGSO}, {"gro", unix.ETHTOOL_GGRO},
	} {
		setting := ethtoolValue{cmd: o.get}
		if ethtool(fd, i.Name, unsafe.Pointer(&setting)) == nil && setting.data != 0 {
			d.Offloads = append(d.Offloads, o.name)
		}
	}
	flags := ethtoolValue{cmd: unix.ETHTOOL_GFLAGS}
	if ethtool(fd, i.Name, unsafe.Pointer(&flags)) == nil && flags.data&flagLRO != 0 {
		d.Offloads = append(d.Offloads, "lro")
	}
	return d
}

// ethtoolValue and ethtoolChannels are structures of linux/ethtool.h.
type (
	ethtoolValue    struct{ cmd, data uint32 }
	ethtoolChannels struct {
		cmd                                     uint32
		mostRx, mostTx, mostOther, mostCombined uint32
		rx, tx, other, combined                 uint32
	}
)

// ethtool asks a device; question is a structure of linux/ethtool.h, and takes the answer.
func ethtool(fd int, device string, question unsafe.Pointer) error {
	request := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: question}
	if len(device) >= len(request.name) {
		return unix.EINVAL
	}
	copy(request.name[:], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(question)
	if errno != 0 {
		return errno
	}
	return nil
}
