package lab

import (
	"errors"
	"fmt"
)

// Step is one of the things that the kernel must allow before a lab exists.
type Step string

// The steps, in the order in which New takes them.
const (
	StepUsers     Step = "make a user namespace"
	StepNamespace Step = "make a network namespace"
	StepSocket    Step = "open a netlink socket in it"
	StepDevice    Step = "add a pair of veth devices"
	StepOffloads  Step = "turn off the offloads of a veth device"
	StepPacket    Step = "open a packet socket"
	StepRing      Step = "map a packet ring"
	StepAddress   Step = "give a host its addresses"
	StepRate      Step = "bound the rate of the link"
)

// StepError means that this machine refused a step of making a lab. Err is the kernel's answer.
type StepError struct {
	Step Step
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// refused wraps the error of a step, unless it is that of a step within; nil stays nil.
func refused(s Step, err error) error {
	if inner := new(StepError); err == nil || errors.As(err, &inner) {
		return err
	}
	return &StepError{s, err}
}
