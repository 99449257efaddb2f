package scaledjpeg

import (
	"bytes"
	"context"
	"io"
)

// nextInScan finds the next marker from pos on, including restart markers, and returns the offset of its first
// byte.
func (d *decoder) nextInScan(pos int) (marker byte, at int, err error) {
	for {
		i := bytes.IndexByte(d.data[pos:], 0xff)
		if i < 0 || pos+i+1 == len(d.data) {
			return 0, 0, io.ErrUnexpectedEOF
		}
		pos += i
		switch marker := d.data[pos+1]; marker {
		case 0:
			pos += 2
		case 0xff:
			pos++
		default:
			return marker, pos, nil
		}
	}
}

// skipScan moves to the marker after the scan. It checks what is visible without decoding: no restart is
// missing or out of order, and there is data between them.
func (d *decoder) skipScan(ctx context.Context, s *scan) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.skipped = true
	restarts := 0
	if d.interval > 0 {
		restarts = over(s.columns*s.rows, d.interval) - 1
	}
	for seen := 0; ; seen++ {
		marker, at, err := d.nextInScan(d.pos)
		if err != nil {
			return err
		}
		if !isRestart(marker) {
			if seen < restarts || at == d.pos && seen == restarts {
				return errShort
			}
			d.pos = at
			return nil
		}
		// Some encoders write one more restart after the last interval.
		if at == d.pos || marker != markerRST0|byte(seen&7) || seen > restarts || d.interval == 0 {
			return errRestart
		}
		d.pos = at + 2
	}
}
