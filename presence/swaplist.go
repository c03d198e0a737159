package presence

// swapList is a list without gaps whose elements know their places, so that one leaves without a
// search: the last takes its place.
type swapList[T any] []*T

// remove takes out the element at i. The place of an element is what the function points to.
func (l *swapList[T]) remove(i int, place func(*T) *int) {
	list := *l
	last := len(list) - 1
	list[i] = list[last]
	*place(list[i]) = i
	list[last] = nil
	*l = list[:last]
}
