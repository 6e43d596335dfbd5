// How many terms of a sum an invocation reads before it adds them, a divisor of the runs that sums go by: a GPU would wait for each
// in turn, as loops to a bound that is not constant are not unrolled.
const AHEAD: u32 = 1u;
