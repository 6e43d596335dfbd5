import { describe, expect, it } from "vitest";
import { readCompiled } from "../../bench/compiled.js";

/** As RADV prints it, shortened. */
const printed = `Warning: something of Dawn's
@@@ matmul 512\tmatmul_tiled HIGH 32
Compute Shader
disasm:
BB0:
\ts_mov_b32 s0, s3                                            ; be800003
\tv_add_u32_e32 v1, vcc, s6, v1                               ; 32020206
BB1:
\tds_read_b128 v[4:7], v2                                     ; d9fe0000 04000002
\tv_mac_f32_e32 v13, v13, v12                                 ; 021a190d
\tv_fma_f32 v13, v13, v12, v1                                 ; 021a190d
\tv_min_u32_e32 v4, s14, v3                                   ; 1c08060e
\ts_cbranch_scc0 BB1                                          ; bf840029
BB2:
\tv_mac_f32_e32 v13, v13, v12                                 ; 021a190d
\ts_endpgm                                                    ; bf810000

Compute Shader:
*** SHADER STATS ***
SGPRs: 32
VGPRs: 84
Spilled VGPRs: 0
LDS size: 8704
Scratch size: 128
Subgroups per SIMD: 3
Instructions: 9
********************

@@@ matmul 512\tsplit_sum
`;

describe("what a GPU's compiler made of the kernels", () => {
  it("is read from what it printed; a kernel without code is none", () => {
    expect(readCompiled(printed)).toEqual([
      {
        case: "matmul 512",
        kernel: "matmul_tiled HIGH 32",
        registers: 84,
        waves: 3,
        workgroupMemory: 8704,
        scratch: 128,
        instructions: 9,
        densest: { multiplyAdds: 2, vector: 4 },
      },
    ]);
  });
});
