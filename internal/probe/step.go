package probe

// What tcpbench does that a machine may refuse. The first nine are the steps of making a lab, in
// their order.
const (
	StepUsers     = "make a user namespace"
	StepNamespace = "make a network namespace"
	StepSocket    = "open a netlink socket in it"
	StepDevice    = "add a pair of veth devices"
	StepOffloads  = "turn off the offloads of a veth device"
	StepPacket    = "open a packet socket"
	StepRing      = "map a packet ring"
	StepAddress   = "give a host its addresses"
	StepRate      = "bound the rate of the link"
	StepLab       = "make a lab"
	StepSysctls   = "write a sysctl of a network namespace"
	StepHost      = "write a sysctl of this machine"
	StepCapture   = "capture packets"
)

// Refused makes a *Failure of the error of a step, unless the error is one of a step within it; nil
// stays nil.
func Refused(step string, err error) error {
	if err == nil {
		return nil
	}
	return failed(step, err)
}
