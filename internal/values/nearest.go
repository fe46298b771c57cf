package values

// Nearest returns the word that an unknown one may have meant: at most one typing error away for words of up
// to three letters, two for longer ones. It may return nothing.
func Nearest(typed string, words []string) string {
	best, distance := "", 3
	if len(typed) <= 3 {
		distance = 2
	}
	for _, w := range words {
		if d := editDistance(typed, w); d < distance {
			best, distance = w, d
		}
	}
	return best
}

// editDistance is how many letters must be inserted, deleted, replaced, or swapped with the next one
// (optimal string alignment).
func editDistance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
