package main

import (
	"math"
	"slices"
)

// median of the values, which stay as they are; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// exponent is that of the power of x which y grows with from one point to the next: 0 if y stays, 1 if it is
// proportional. NaN if the points do not say.
func exponent(x1, y1, x2, y2 float64) float64 {
	if x1 <= 0 || x2 <= 0 || y1 <= 0 || y2 <= 0 || x1 == x2 {
		return math.NaN()
	}
	return math.Log(y2/y1) / math.Log(x2/x1)
}

// growthLimit is what an exponent must not exceed: linear, and some noise.
const growthLimit = 1.1
