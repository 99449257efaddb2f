package archive

// StartAt makes w the continuation of a file of offset bytes.
func (w *Writer) StartAt(offset int64) { w.zip.SetOffset(offset) }
