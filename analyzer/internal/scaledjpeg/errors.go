package scaledjpeg

// FormatError reports that the file violates the format.
type FormatError string

func (e FormatError) Error() string { return "invalid JPEG: " + string(e) }

// UnsupportedError reports that the file uses a feature that this package does not decode.
type UnsupportedError string

func (e UnsupportedError) Error() string { return "unsupported JPEG: " + string(e) }

// The errors of images that other decoders accept although they violate T.81.
const (
	errBeyondBlock = FormatError("coefficient beyond the end of its block")
	errReserved    = FormatError("reserved code in a sequential scan")
	errTable       = FormatError("Huffman table with too many codes")
	errNoQuant     = FormatError("missing quantization table")
	errNoScan      = FormatError("component without a scan")
	errNoWidth     = FormatError("no width")
	errNoHeight    = FormatError("no height")
	errQuantCut    = FormatError("quantization table cut short")
)

const (
	errShort      = FormatError("short entropy-coded data")
	errBadCode    = FormatError("bad Huffman code")
	errRestart    = FormatError("bad RST marker")
	errLength     = FormatError("segment of the wrong length")
	errNoFrame    = FormatError("missing SOF marker")
	errNoTable    = FormatError("missing Huffman table")
	errEmptyTable = FormatError("Huffman table without codes")
	errDC         = UnsupportedError("excessive DC component")
	errFractional = UnsupportedError("sampling factors that do not divide the largest one")
)
