// What gauss_newton_step needs of the rows of long factors: TᵀT and TᵀD of the trial factors T and the direction of descent D there, mode by mode, in
// parts. A workgroup works on a chunk of one mode's rows, of one model; where it has more invocations than there are sums, several share the rows of a
// sum, and each leaves a part of its own. reads T and D R times from cache; flops 4·I·R².
#import gauss_newton

const WIDTH: u32 = 64u;

@group(0) @binding(1) var<storage, read> trial: array<f32>;
@group(0) @binding(2) var<storage, read> trial_descent: array<f32>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;
@group(0) @binding(4) var<storage, read> scalars: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = params.rank;
  let size = 2u * n * n;
  let mode = group.y;
  let model = group.z;
  if (scalars[model * PER_MODEL + SLOW] >= ENOUGH_SLOW) { return; }
  let first = min(group.x * params.chunk, extent_of(mode));
  let last = min(first + params.chunk, extent_of(mode));
  let share = lane / size;
  // the last invocations may be too few for a share of all sums
  if (share >= params.shares) { return; }
  let part = ((model * params.modes + mode) * params.chunks + group.x) * params.shares + share;
  for (var e = lane % size; e < size; e += WIDTH) {
    let i = e / n % n;
    let j = e % n;
    var sum = 0.0;
    for (var row = first + share; row < last; row += params.shares) {
      let left = trial[place(start_of(mode) + row, model, i)];
      let at = place(start_of(mode) + row, model, j);
      if (e < n * n) { sum += left * trial[at]; } else { sum += left * trial_descent[at]; }
    }
    parts[part * size + e] = sum;
  }
}
