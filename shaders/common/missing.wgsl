// What an entry of a tensor holds that is missing: the largest number of f32.

const MISSING: f32 = 0x1.fffffep+127f;
