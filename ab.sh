cd /tmp/w
run() { echo "$1 $2: $(./$1/build/bin/weir-bench $2 --rivals none --against none --seconds 0.3 --repeat 1 2>&1 | grep -E ' weir  ' | head -1)"; }
run() { echo "$1 $2: $(./$1/build/bin/weir-bench $2 --against none --seconds 0.3 --repeat 1 2>&1 | grep -E ' weir  ' | head -1)"; }
for r in 1 2 3 4 5; do for s in 64 1K; do for b in mt ad; do run $b "connections --connections 1000 --size $s"; done; done; done
