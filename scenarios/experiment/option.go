package experiment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tcpbench/internal/values"
)

// Options are socket options by name. On loopback they stand in for the settings that a host
// of a lab has, and count more than those that an experiment sets itself.
type Options map[string]int

// localPortRange is IP_LOCAL_PORT_RANGE (linux/in.h, since 6.3), which the unix package lacks.
const (
	localPortRange     = 51
	localPortRangeName = "IP_LOCAL_PORT_RANGE"
)

// known are the options that a file may set.
var known = map[string]struct{ level, option int }{
	"SO_RCVBUF":               {unix.SOL_SOCKET, unix.SO_RCVBUF},
	"SO_SNDBUF":               {unix.SOL_SOCKET, unix.SO_SNDBUF},
	"TCP_MAXSEG":              {unix.IPPROTO_TCP, unix.TCP_MAXSEG},
	"TCP_LINGER2":             {unix.IPPROTO_TCP, unix.TCP_LINGER2},
	"TCP_USER_TIMEOUT":        {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	"SO_RCVLOWAT":             {unix.SOL_SOCKET, unix.SO_RCVLOWAT},
	"IP_MINTTL":               {unix.IPPROTO_IP, unix.IP_MINTTL},
	"IP_BIND_ADDRESS_NO_PORT": {unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT},
	localPortRangeName:        {unix.IPPROTO_IP, localPortRange},
}

// ParseOption reads the value of a socket option: a number, or two ports LOW-HIGH.
func ParseOption(name, value string) (int, error) {
	if _, ok := known[name]; !ok {
		names := slices.Sorted(maps.Keys(known))
		if near := values.Nearest(name, names); near != "" {
			return 0, fmt.Errorf("unknown socket option %q: did you mean %s?", name, near)
		}
		return 0, fmt.Errorf("unknown socket option %q: there are %s", name, strings.Join(names, ", "))
	}
	if name == localPortRangeName {
		ports, err := values.PortRange(value)
		return ports[1]<<16 | ports[0], err
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: want a whole number", value)
	}
	return int(n), nil
}

// Texts are the options as ParseOption reads them.
func (o Options) Texts() map[string]string {
	texts := map[string]string{}
	for name, value := range o {
		texts[name] = fmt.Sprint(value)
		if name == localPortRangeName {
			texts[name] = fmt.Sprintf("%d-%d", value&0xffff, value>>16)
		}
	}
	return texts
}

// apply sets the options on a new socket.
func (o Options) apply(s *socket) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		s.set(known[name].level, known[name].option, o[name], name)
	}
}

// ports bounds the local ports of the socket.
func (s *socket) ports(low, high uint16) {
	value := int(high)<<16 | int(low)
	if chosen, ok := s.bench.options[s.side][localPortRangeName]; ok {
		value = chosen
	}
	err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, localPortRange, value)
	if errors.Is(err, unix.ENOPROTOOPT) {
		err = fmt.Errorf("%w: it needs Linux 6.3 or later, or a lab", err)
	}
	s.bench.check(err, "set "+localPortRangeName)
}
