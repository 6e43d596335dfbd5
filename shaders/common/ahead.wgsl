// How many terms of a sum an invocation reads before it adds them; it divides the lengths of the runs that sums are split into.
// Compilers do not unroll a loop whose bound is not constant, so that with AHEAD = 1 a GPU waits for one read after the other.
const AHEAD: u32 = 1u;
