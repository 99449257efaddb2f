package visual

import "github.com/imagebatch/imagebatch/shared/pipeline"

// alpha sets whether some pixel is transparent.
func alpha(c *Copy, m *pipeline.Metadata) { m.AlphaUsed = m.HasAlpha && c.transparent }
