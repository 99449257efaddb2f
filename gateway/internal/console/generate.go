package console

// The bundle is built by esbuild, which deployments/tools/esbuild pins as a Go module, so that
// neither npm nor a downloaded program is needed. The same sources give the same bytes on every
// machine. The screens that app.js imports on demand become chunks, whose names have a digest of
// their bytes. src/vendor has the libraries as they were released: Preact 11.2.0 and htm 3.1.1.

//go:generate rm -rf dist
//go:generate env GOWORK=off go tool -modfile=../../../deployments/tools/esbuild/go.mod esbuild app=src/main.js style=src/css/style.css later=src/css/later.css index=src/index.html icon=src/icon.svg --bundle --splitting --minify --format=esm --target=es2022 --charset=utf8 --legal-comments=inline --alias:preact=./src/vendor/preact.mjs --loader:.html=copy --loader:.svg=copy --entry-names=[name] --chunk-names=[name]-[hash] --outdir=dist --log-level=warning
