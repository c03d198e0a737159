package main

import (
	"math"
	"slices"
	"time"
)

// median returns the middle value, or the mean of the two in the middle; NaN if there are no
// values.
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

// percentile returns the value that percent of all values do not exceed. It sorts them.
func percentile(values []time.Duration, percent int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max((len(values)*percent+99)/100, 1)-1]
}

func apply[T any](values []T, of func(T) float64) []float64 {
	results := make([]float64, len(values))
	for i, v := range values {
		results[i] = of(v)
	}
	return results
}

// micros and millis convert a duration to a number.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
