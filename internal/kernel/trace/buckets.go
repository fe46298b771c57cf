package trace

import "github.com/cilium/ebpf/asm"

// The buckets of handshake times are 0.1 % wide, as in an HDR histogram of three digits: below 2048 ns one
// for each nanosecond, above that 1024 for each doubling.
const (
	halfBuckets = 1024
	buckets     = 40 * halfBuckets // up to 6.5 days
)

// shifts are the thresholds at which a value is halved so many times. After all of them it is below 2048,
// and 1024 or more if it was halved.
var shifts = []struct{ from, by int32 }{
	{27, 16}, {27, 16}, {19, 8}, {15, 4}, {13, 2}, {12, 1}, {11, 1},
}

// bucketValue is the smallest time of a bucket, in nanoseconds.
func bucketValue(i uint32) int64 {
	if i < 2*halfBuckets {
		return int64(i)
	}
	halved := i/halfBuckets - 1
	return int64(i-halved*halfBuckets) << halved
}

// bucketCode turns the time in R1 into its bucket. It uses R2.
func bucketCode() asm.Instructions {
	code := asm.Instructions{asm.Mov.Imm(asm.R2, 0)}
	for n, s := range shifts {
		skip := "shift" + string(rune('a'+n))
		code = append(code,
			asm.JLT.Imm(asm.R1, 1<<s.from, skip),
			asm.RSh.Imm(asm.R1, s.by),
			asm.Add.Imm(asm.R2, s.by),
			asm.Mov.Reg(asm.R1, asm.R1).WithSymbol(skip),
		)
	}
	return append(code,
		asm.Mul.Imm(asm.R2, halfBuckets),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.JLT.Imm(asm.R1, buckets, "bucket"),
		asm.Mov.Imm(asm.R1, buckets-1),
	)
}
