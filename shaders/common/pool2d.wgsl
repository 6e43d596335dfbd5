// What pool2d and its gradient share: params, the input x, and the windows.
#import index

const WIDTH: u32 = 64u;
// the largest element of a window, or the mean
const LARGEST: bool = true;

struct Params {
  planes: u32,
  height: u32,
  width: u32,
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_y: u32,
  stride_x: u32,
  pad_y: u32,
  pad_x: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;

// rows first_y to last_y − 1 and columns first_x to last_x − 1 of a plane
struct Window {
  first_y: u32,
  last_y: u32,
  first_x: u32,
  last_x: u32,
}

// The window at (top, left), places that count the padding, clamped to the borders of the plane.
fn window_of(top: u32, left: u32) -> Window {
  return Window(
    max(top, params.pad_y) - params.pad_y,
    min(max(top + params.kernel_height, params.pad_y) - params.pad_y, params.height),
    max(left, params.pad_x) - params.pad_x,
    min(max(left + params.kernel_width, params.pad_x) - params.pad_x, params.width),
  );
}
