package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/safchain/ethtool"
)

// offloadsOff makes a device send and receive frames as a wire carries them: with complete checksums,
// and none larger than the MTU. The device is in the namespace of the calling thread.
func offloadsOff(device string) (err error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	defer e.Close()
	on, err := offloads(e, device)
	if err != nil {
		return fmt.Errorf("%s: read its offloads: %w", device, err)
	}
	config := map[string]bool{}
	for _, name := range on {
		config[name] = false
	}
	if err := e.Change(device, config); err != nil {
		return fmt.Errorf("%s: turn off %s: %w", device, strings.Join(on, ", "), err)
	}
	if on, err = offloads(e, device); err == nil && len(on) > 0 { // a driver may refuse without an error
		err = errors.New("still on: " + strings.Join(on, ", "))
	}
	if err != nil {
		return fmt.Errorf("%s: offloads: %w", device, err)
	}
	return nil
}

// offloads lists the features that are on and change frames between stack and device, by the kernel's
// names (net/ethtool/common.c).
func offloads(e *ethtool.Ethtool, device string) (on []string, err error) {
	features, err := e.Features(device)
	if err != nil {
		return nil, err
	}
	for name, active := range features {
		if active && reshapes(name) {
			on = append(on, name)
		}
	}
	slices.Sort(on)
	return on, nil
}

func reshapes(feature string) bool {
	sends := strings.HasPrefix(feature, "tx-") && (strings.Contains(feature, "checksum") || strings.Contains(feature, "segmentation") || strings.Contains(feature, "gso"))
	receives := strings.HasPrefix(feature, "rx-") && (strings.Contains(feature, "gro") || strings.Contains(feature, "lro"))
	return sends || receives
}
