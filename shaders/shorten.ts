/**
 * Short names for what shaders declare, in builds: names of functions, variables, structs and fields are a sixth of the packed kernels.
 *
 * A name is replaced wherever it stands in a linked shader, by one that stands nowhere in it. So every name still means what it meant,
 * whatever is declared in which scope. One map serves all shaders of the library, as they share the text of their imports.
 */

/** A linked shader, without comments. */
export interface Linked {
  code: string;
  /** names that `Kernel.with` looks for, or WebGPU */
  kept: readonly string[];
}

/** names of attributes, as in `@group`, stay */
const WORD = /(?<!@)\b[A-Za-z_]\w*/g;
/** a declaration: a keyword before the name, or a colon behind it, as of parameters and fields */
const DECLARATION =
  /\b(?:let|const|fn|struct|alias|override|var(?:\s*<[^>]*>)?)\s*\b([A-Za-z_]\w*)|\b([A-Za-z_]\w*)\s*:/g;
/** vec.zyx and color.bgr are spelt like names */
const SWIZZLE = /^(?:[xyzw]{1,4}|[rgba]{1,4})$/;
/**
 * Names that WGSL gives a meaning, and that a shader may declare for itself. What one shader declares and another takes from WGSL stays in
 * both; these stay also where one shader does both.
 */
const OF_WGSL = new Set(
  `abs acos all any array asin atan atan2 atomic bool bitcast ceil clamp cos cosh countOneBits cross default degrees determinant distance
  dot exp exp2 extractBits f16 f32 faceForward floor fma fract frexp i32 insertBits inverseSqrt ldexp length log log2 mat2x2 mat3x3 mat4x4
  max min mix modf normalize pow ptr quantizeToF16 radians reflect refract reverseBits round saturate select sign sin sinh smoothstep sqrt
  step tan tanh transpose trunc u32 vec2 vec3 vec4 vec2f vec3f vec4f vec2u vec3u vec4u vec2i vec3i vec4i vec2h vec3h vec4h
  exchanged old_value whole position size align id location read write read_write storage uniform workgroup private function main
  local_invocation_id local_invocation_index global_invocation_id workgroup_id num_workgroups subgroup_invocation_id subgroup_size`.split(
    /\s+/,
  ),
);
/** what no name may be, beside what the shaders use: keywords and reserved words of two letters */
const TAKEN = new Set("as do if fn of or is in".split(" "));

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Names by length: a … Z, aa … Z9, and so on. */
function* shortNames(): Generator<string> {
  for (let stems = [""]; ; ) {
    const next: string[] = [];
    for (const stem of stems)
      for (const letter of stem ? `${LETTERS}0123456789` : LETTERS) {
        yield stem + letter;
        next.push(stem + letter);
      }
    stems = next;
  }
}

const wordsOf = (code: string): string[] => code.match(WORD) ?? [];

const declaredIn = (code: string): Set<string> =>
  new Set([...code.matchAll(DECLARATION)].map(([, name, beforeColon]) => (name ?? beforeColon)!));

/** The short names of what the shaders declare. Two names that stand in one shader get different ones. */
export function shorterNames(shaders: readonly Linked[]): Map<string, string> {
  const words = shaders.map(({ code }) => wordsOf(code));
  const declared = shaders.map(({ code }) => declaredIn(code));
  const fixed = new Set([...shaders.flatMap(({ kept }) => kept), ...OF_WGSL]);
  words.forEach((list, index) => {
    for (const word of list) if (!declared[index]!.has(word)) fixed.add(word);
  });
  const counts = new Map<string, number>();
  for (const list of words) for (const word of list) counts.set(word, (counts.get(word) ?? 0) + 1);
  const names = [...new Set(declared.flatMap((all) => [...all]))]
    .filter((name) => name.length > 1 && !fixed.has(name) && !SWIZZLE.test(name))
    // the most frequent first; in the same order on every machine
    .sort((a, b) => counts.get(b)! - counts.get(a)! || (a < b ? -1 : 1));
  const renamed = new Set(names);
  /** what stands in each shader: names that stay, and short ones as they are given */
  const standing = words.map((list) => new Set(list.filter((word) => !renamed.has(word))));
  const shorter = new Map<string, string>();
  for (const name of names) {
    const shared = standing.filter((_, index) => declared[index]!.has(name));
    for (const short of shortNames()) {
      if (TAKEN.has(short) || fixed.has(short) || shared.some((all) => all.has(short))) continue;
      shorter.set(name, short);
      break;
    }
    for (const all of shared) all.add(shorter.get(name)!);
  }
  return shorter;
}

/** Code with the names of the map replaced. */
export const shorten = (code: string, names: ReadonlyMap<string, string>): string =>
  code.replace(WORD, (word) => names.get(word) ?? word);
