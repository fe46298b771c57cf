package bench

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

// Options are socket options by name. They override those that an experiment sets itself. On
// loopback they stand in for the settings of a host.
type Options map[string]int

// PortRange is IP_LOCAL_PORT_RANGE (linux/in.h, since 6.3); the unix package lacks it.
const PortRange = "IP_LOCAL_PORT_RANGE"

type option struct{ level, option int }

// offered are the options that a file may set.
var offered = map[string]option{
	"SO_RCVBUF":               {unix.SOL_SOCKET, unix.SO_RCVBUF},
	"SO_SNDBUF":               {unix.SOL_SOCKET, unix.SO_SNDBUF},
	"TCP_MAXSEG":              {unix.IPPROTO_TCP, unix.TCP_MAXSEG},
	"TCP_LINGER2":             {unix.IPPROTO_TCP, unix.TCP_LINGER2},
	"TCP_USER_TIMEOUT":        {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	"SO_RCVLOWAT":             {unix.SOL_SOCKET, unix.SO_RCVLOWAT},
	"IP_MINTTL":               {unix.IPPROTO_IP, unix.IP_MINTTL},
	"IP_BIND_ADDRESS_NO_PORT": {unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT},
	PortRange:                 {unix.IPPROTO_IP, 51},
}

// internal are the options that only experiments set.
var internal = map[string]option{
	"SO_REUSEADDR": {unix.SOL_SOCKET, unix.SO_REUSEADDR},
	"SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	"TCP_QUICKACK": {unix.IPPROTO_TCP, unix.TCP_QUICKACK},
	"TCP_REPAIR":   {unix.IPPROTO_TCP, unix.TCP_REPAIR},
}

// ParseOption reads the value of a socket option: a number, or two ports LOW-HIGH.
func ParseOption(name, value string) (int, error) {
	if _, ok := offered[name]; !ok {
		names := slices.Sorted(maps.Keys(offered))
		if near := values.Nearest(name, names); near != "" {
			return 0, fmt.Errorf("unknown socket option %q: did you mean %s?", name, near)
		}
		return 0, fmt.Errorf("unknown socket option %q: there are %s", name, strings.Join(names, ", "))
	}
	if name == PortRange {
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
		if name == PortRange {
			texts[name] = fmt.Sprintf("%d-%d", value&0xffff, value>>16)
		}
	}
	return texts
}

// Set sets an option, to the value in Options if there is one.
func (s *Socket) Set(name string, value int) {
	if chosen, ok := s.bench.Options[s.Side][name]; ok {
		value = chosen
	}
	o, ok := offered[name]
	if !ok {
		o = internal[name]
	}
	err := unix.SetsockoptInt(s.fd, o.level, o.option, value)
	if name == PortRange && errors.Is(err, unix.ENOPROTOOPT) {
		err = fmt.Errorf("%w: it needs Linux 6.3 or later, or a lab", err)
	}
	s.bench.Check(err, "set "+name)
}
