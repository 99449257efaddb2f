// Package add adds.
package add

// Add returns the sum of a and b.
func Add(a, b int) int {
	return a + b
}

// Subtract returns a less b.
func Subtract(a, b int) int {
	if b == 0 {
		return a
	}
	return a - b
}

// Double returns twice a.
func Double(a int) int {
	if a == 0 {
		return a
	}
	return 2 * a
}
