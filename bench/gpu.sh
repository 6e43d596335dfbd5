#!/usr/bin/env bash
# What a GPU is asked for in a quarter of an hour: see --help.
set -uo pipefail
cd "$(dirname "$0")/.."

help() {
  cat <<'HELP'
bench/gpu.sh [--out DIR] [--python PYTHON] [--seconds N] [--rehearse]

Measures this machine's GPU and judges the goals for GPUs (bench/README.md), in less than eight minutes:
adapter and probes; correctness of the kernels; products, sweeps and factorisations with every variant, with
TensorLy and torch.linalg on CUDA beside them where PYTHON has them; CP to an error; sixteen starts beside one;
ONNX models in a browser, where one runs. The verdicts come last.

A step that has ended is kept in DIR, and not done again: the same command goes on where it was cut off.

  --out DIR         where results go (bench/results/gpu)
  --python PYTHON   an interpreter with tensorly and torch (python3, where it has both)
  --seconds N       no step begins after so many seconds; those left out are named (480)
  --rehearse        small sizes, each step once, on any adapter: shows that all of it runs

It needs npm ci and npm run build.
HELP
}

out=bench/results/gpu python= seconds=480 rehearse=
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --python) python=${2:?--python needs an interpreter}; shift 2 ;;
    --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
    --rehearse) rehearse=1; shift ;;
    -h | --help) help; exit 0 ;;
    *) echo "gpu.sh: unknown option $1; --help lists them" >&2; exit 2 ;;
  esac
done
[ -f dist/cli.js ] || { echo "gpu.sh: dist is missing: npm ci && npm run build first" >&2; exit 2; }
mkdir -p "$out"
begun=$(date +%s)
elapsed() { echo $(($(date +%s) - begun)); }
left_out=() failed=()

# step NAME LIMIT COMMAND…: runs a command once, with a limit in seconds; what it prints goes to DIR/NAME.txt
step() {
  local name=$1 limit=$2; shift 2
  if [ -f "$out/$name.done" ]; then echo "$name: done before"; return; fi
  if [ "$(elapsed)" -ge "$seconds" ]; then left_out+=("$name"); return; fi
  echo "$(elapsed) s: $name"
  if timeout -k 5 "$limit" "$@" > "$out/$name.txt" 2>&1; then touch "$out/$name.done"
  else failed+=("$name ($(tail -n 1 "$out/$name.txt" | cut -c1-160))"); fi
}

bench() { # bench NAME LIMIT CASES [OPTIONS…]
  local name=$1 limit=$2 cases=$3; shift 3
  local size=(--rounds 5 --budget 3)
  [ -z "$rehearse" ] || size=(--slim)
  step "$name" "$limit" node bench/run.mjs --node --cases "$cases" --json "$out/$name.json" "${size[@]}" "$@"
}

# adapter, and every rule that is in force on it
step adapter 60 node dist/cli.js doctor --rules
sed '/^rule /,$d' "$out/adapter.txt"
if [ -z "$rehearse" ] && grep -qi "llvmpipe\|swiftshader\|software" <(head -n 12 "$out/adapter.txt"); then
  echo "gpu.sh: this is a software adapter; VK_DRIVER_FILES names another driver, --rehearse takes this one" >&2
  rm -f "$out/adapter.done"
  exit 2
fi

beside=()
if [ -z "$python" ] && python3 -c 'import tensorly, torch' 2> /dev/null; then python=python3; fi
if [ -n "$python" ]; then beside=(--tensorly "$python"); else echo "no TensorLy and torch beside: --python names an interpreter"; fi

# the goals, with what they are held to
bench products 150 'matmul (1024|4096$|30000|4096×)|gram 30000|(mode product|MTTKRP) 256³ .*(32|R16)|(mode product|MTTKRP) 512³' --no-variants "${beside[@]}"
bench sweeps 60 'CP-ALS|HOOI sweep|Gauss-Newton' --no-variants "${beside[@]}"
bench factorisations 90 'whole (SVD|eigen) (256|512|1024|2048)|whole QR' --no-variants "${beside[@]}"
# correct there? The files of kernels; those that train for long are left out
kernels='test/ops test/gpu'
[ -z "$rehearse" ] || kernels='test/ops/products.test.ts test/gpu/races.test.ts'
step correct 120 env NO_COLOR=1 npx vitest run $kernels --reporter=dot
bench training 60 'training step|epoch 784-3-3|LeNet|conv2d' --no-variants
bench to-error 60 'to error' --no-variants "${beside[@]}"
step starts 40 node bench/starts.mjs $([ -z "$rehearse" ] && echo 5 || echo 1)
bench variants 90 'matmul (512|1024|4096$|30000)|(mode product|MTTKRP) 256³ .*(32|R16)'
step models 60 node dist/cli.js compress test/fixtures/networks/vgg.onnx --shape images=1x1x28x28 --target mult/2 --out "$out/vgg-half.onnx"
step browser $([ -z "$rehearse" ] && echo 90 || echo 300) node bench/onnxBrowser.mjs --adapter $([ -z "$rehearse" ] && echo default || echo swiftshader) \
  --batch 64 --rounds $([ -z "$rehearse" ] && echo 7 || echo 1) test/fixtures/networks/vgg.onnx "$out/vgg-half.onnx" test/fixtures/networks/resnet.onnx

echo
[ ! -f "$out/starts.txt" ] || grep 'times one' "$out/starts.txt"
[ ! -f "$out/browser.done" ] || cat "$out/browser.txt"
[ ! -f "$out/correct.txt" ] || grep -E '^ *(Test Files|Tests) ' "$out/correct.txt"
reports=$(ls "$out"/*.json 2> /dev/null)
[ -z "$reports" ] || node bench/run.mjs --judge $reports
[ ${#left_out[@]} -eq 0 ] || echo "left out after $seconds s: ${left_out[*]}; the same command goes on with them"
for name in "${failed[@]}"; do echo "failed: $name"; done
echo "$(elapsed) s in all; results in $out"
[ ${#failed[@]} -eq 0 ]
