// Householder reflections of the columns of a block (column j begins at vec4 base + j·quads of `work`), by one workgroup.
// H_k = I − τ·v·vᵀ with v = (1, x·inverse) from the pivot row on turns column k into β at the pivot and zeros below it (Golub &
// Van Loan, section 5.1). The column keeps x unscaled; v is scaled where it is used, which saves a barrier. Rows behind the last
// one of the matrix are zero. ACROSS neighbouring invocations share four columns. Sums are split into runs of 32 vec4s an
// invocation, which keeps their rounding error small.
#import reflector

// (β, τ, inverse) of every column of the block, at most REFLECTIONS
var<workgroup> reflectors: array<vec3<f32>, REFLECTIONS>;
var<workgroup> dots: array<vec4<f32>, WIDTH>;
var<workgroup> squares: array<f32, WIDTH>;

fn element(at: u32, i: u32) -> f32 { return work[at + i / 4u][i % 4u]; }

// Applies reflection k to columns begin … end − 1 from the pivot row on. Unless the reflection is `known`, it is computed from
// column k first, which must not be among those columns. All invocations of the workgroup must call it together, because it has
// barriers.
fn reflect(lane: u32, base: u32, quads: u32, k: u32, pivot: u32, begin: u32, end: u32, known: bool) {
  let team = lane / ACROSS;
  let member = lane % ACROSS;
  let teams = WIDTH / ACROSS;
  let source = base + k * quads;
  let top_quad = pivot / 4u;
  let rounds = max(1u, ((end - begin + 3u) / 4u + teams - 1u) / teams);
  let next = vec4<u32>(0u, 1u, 2u, 3u);
  for (var round = 0u; round < rounds; round++) {
    let first = begin + 4u * (team + round * teams);
    // columns behind the last one are read as column k, and not written
    let columns = first + next;
    let at = base + quads * select(vec4<u32>(k), columns, columns < vec4<u32>(end));
    var products = vec4<f32>(0.0);
    var below = 0.0;
    for (var start = top_quad + member; start < quads; start += 32u * ACROSS) {
      var run = vec4<f32>(0.0);
      var run_below = 0.0;
      for (var i = start; i < min(quads, start + 32u * ACROSS); i += ACROSS) {
        let x = select(vec4<f32>(0.0), work[source + i], 4u * i + next > vec4<u32>(pivot));
        run += vec4<f32>(dot(x, work[at.x + i]), dot(x, work[at.y + i]), dot(x, work[at.z + i]), dot(x, work[at.w + i]));
        run_below += dot(x, x);
      }
      products += run;
      below += run_below;
    }
    let top = vec4<f32>(element(at.x, pivot), element(at.y, pivot), element(at.z, pivot), element(at.w, pivot));
    let alpha = element(source, pivot);
    dots[lane] = products;
    squares[lane] = below;
    workgroupBarrier();
    products = vec4<f32>(0.0);
    below = 0.0;
    for (var u = 0u; u < ACROSS; u++) {
      products += dots[team * ACROSS + u];
      below += squares[team * ACROSS + u];
    }
    var reflector = reflector_of(alpha, below);
    if (known) { reflector = reflectors[k]; }
    let weight = reflector.y * (top + reflector.z * products);
    storageBarrier();
    workgroupBarrier();
    if (!known && lane == 0u && round == 0u) { reflectors[k] = reflector; }
    if (first < end && reflector.y != 0.0) {
      for (var i = top_quad + member; i < quads; i += ACROSS) {
        let x = select(vec4<f32>(0.0), reflector.z * work[source + i], 4u * i + next > vec4<u32>(pivot));
        let v = select(x, vec4<f32>(1.0), 4u * i + next == vec4<u32>(pivot));
        work[at.x + i] -= weight.x * v;
        if (first + 1u < end) { work[at.y + i] -= weight.y * v; }
        if (first + 2u < end) { work[at.z + i] -= weight.z * v; }
        if (first + 3u < end) { work[at.w + i] -= weight.w * v; }
      }
    }
  }
  storageBarrier();
  workgroupBarrier();
}
