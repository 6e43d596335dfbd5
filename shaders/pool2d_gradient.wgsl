// dx of pool2d: an element's gradient is the sum over the windows that it lies in. From a maximum it gets all of the window's dy if
// it is the window's first largest element, which is searched again because nothing was stored; from a mean it gets
// dy/(KH·KW). One invocation an element of x, with KH·KW reads a window. SIDE_BY_SIDE, where the steps are the window's extents:
// one invocation a window, windows across the border included.
#import pool2d

const SIDE_BY_SIDE: bool = false;

@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// whether x[plane + element] is the first largest element of the window at (top, left), places that count the padding
fn leads(plane: u32, element: u32, top: u32, left: u32) -> bool {
  let value = x[plane + element];
  let window = window_of(top, left);
  for (var y = window.first_y; y < window.last_y; y++) {
    for (var at = window.first_x; at < window.last_x; at++) {
      let place = y * params.width + at;
      let other = x[plane + place];
      if (other > value || (place < element && other == value)) { return false; }
    }
  }
  return true;
}

fn scatter(index: u32) {
  let rows = (params.height + params.kernel_height - 1u) / params.kernel_height;
  let columns = (params.width + params.kernel_width - 1u) / params.kernel_width;
  if (index >= params.planes * rows * columns) { return; }
  let column = index % columns;
  let row = index / columns % rows;
  let plane = index / (rows * columns);
  let start = plane * params.height * params.width
    + row * params.kernel_height * params.width + column * params.kernel_width;
  let high = min(params.kernel_height, params.height - row * params.kernel_height);
  let wide = min(params.kernel_width, params.width - column * params.kernel_width);
  // a window that reaches over the border has no output
  let complete = row < params.out_height && column < params.out_width;
  var gradient = 0.0;
  if (complete) { gradient = dy[(plane * params.out_height + row) * params.out_width + column]; }
  if (!LARGEST) { gradient /= f32(params.kernel_height * params.kernel_width); }
  var lead = start;
  if (LARGEST) {
    var largest = x[start];
    for (var y = 0u; y < high; y++) {
      for (var at = 0u; at < wide; at++) {
        let place = start + y * params.width + at;
        let value = x[place];
        if (value > largest) {
          largest = value;
          lead = place;
        }
      }
    }
  }
  for (var y = 0u; y < high; y++) {
    for (var at = 0u; at < wide; at++) {
      let place = start + y * params.width + at;
      out[place] = select(0.0, gradient, !LARGEST || place == lead);
    }
  }
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_workgroup(group, groups) * WIDTH + lane;
  if (SIDE_BY_SIDE) {
    scatter(index);
    return;
  }
  let area = params.height * params.width;
  if (index >= params.planes * area) { return; }
  let element = index % area;
  let plane = index - element;
  let y = element / params.width + params.pad_y;
  let at = element % params.width + params.pad_x;
  // the windows that the element lies in: from the first that does not end before it to the last that begins at it or before
  let first_row = (max(y + 1u, params.kernel_height) - params.kernel_height + params.stride_y - 1u) / params.stride_y;
  let last_row = min(y / params.stride_y + 1u, params.out_height);
  let first_column = (max(at + 1u, params.kernel_width) - params.kernel_width + params.stride_x - 1u) / params.stride_x;
  let last_column = min(at / params.stride_x + 1u, params.out_width);
  let out_plane = index / area * params.out_height * params.out_width;
  var sum = 0.0;
  for (var row = first_row; row < last_row; row++) {
    for (var column = first_column; column < last_column; column++) {
      let gradient = dy[out_plane + row * params.out_width + column];
      if (!LARGEST) {
        sum += gradient;
      } else if (leads(plane, element, row * params.stride_y, column * params.stride_x)) {
        sum += gradient;
      }
    }
  }
  if (!LARGEST) { sum /= f32(params.kernel_height * params.kernel_width); }
  out[index] = sum;
}
