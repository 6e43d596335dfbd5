// Moves long factors as gauss_newton_step decided: takes the trial over where it was accepted, A = T·scales and D = D_T/scales/unit, and tries
// T = A + P, P = D·(V + λI)⁻¹ − A·Y·(V + λI)⁻¹, unless the mode is fixed. Leaves ⟨D, P⟩ and ‖P‖² of its rows in `parts`. A workgroup works on a chunk of
// one mode's rows, of one model. reads and writes I·R a few times; flops 4·I·R².
#import gauss_newton
#import sum_lanes

const WIDTH: u32 = 64u;

@group(0) @binding(1) var<storage, read_write> trial: array<f32>;
@group(0) @binding(2) var<storage, read> trial_descent: array<f32>;
@group(0) @binding(3) var<storage, read_write> accepted: array<f32>;
@group(0) @binding(4) var<storage, read_write> descent: array<f32>;
@group(0) @binding(5) var<storage, read> matrices: array<f32>;
@group(0) @binding(6) var<storage, read> scalars: array<f32>;
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = params.rank;
  let mode = group.y;
  let model = group.z;
  // what the last step of a model took over is still to be moved
  if (scalars[model * PER_MODEL + SLOW] >= ENOUGH_SLOW && scalars[model * PER_MODEL + TAKEN] != 1.0) { return; }
  let first = min(group.x * params.chunk, extent_of(mode));
  let last = min(first + params.chunk, extent_of(mode));
  if (scalars[model * PER_MODEL + TAKEN] == 1.0) {
    for (var e = first * n + lane; e < last * n; e += WIDTH) {
      let at = place(start_of(mode) + e / n, model, e % n);
      let scale = matrices[scale_at(model, mode, e % n)];
      accepted[at] = trial[at] * scale;
      descent[at] = trial_descent[at] * params.inverse_unit / scale;
    }
  }
  storageBarrier();
  workgroupBarrier();
  let inverse = slot(model, LEFT, mode);
  let coupled = slot(model, RIGHT, mode);
  var along = 0.0;
  var moved = 0.0;
  for (var e = first * n + lane; e < last * n; e += WIDTH) {
    let row = start_of(mode) + e / n;
    let at = place(row, model, e % n);
    let start = place(row, model, 0u);
    var step = 0.0;
    if (!is_fixed(mode)) {
      for (var k = 0u; k < n; k++) {
        step += descent[start + k] * matrices[inverse + k * n + e % n];
        step -= accepted[start + k] * matrices[coupled + k * n + e % n];
      }
    }
    trial[at] = accepted[at] + step;
    along += descent[at] * step;
    moved += step * step;
  }
  along = sum_lanes(lane, along);
  moved = sum_lanes(lane, moved);
  if (lane == 0u) {
    let at = promise_at((model * params.modes + mode) * params.chunks + group.x);
    parts[at] = along;
    parts[at + 1u] = moved;
  }
}
