package pipeline

// Metadata is the analysis of one image, and the record that is stored with the
// processed file. The tags of a field are its only definition; the XMP packet, the
// tables of docs/metadata.md and docs/metadata.schema.json are generated from them:
//
//   - json: its name in the record.
//   - xmp: its name in the XMP packet; without it, the field is not written. A field
//     with the option core is written even if space is short. Fields with the option
//     original come before the others.
//   - range: its valid values: a range of numbers or of lengths ("0..1", ">0..", "1..256"), a
//     choice ("jpeg|png"), or a regular expression ("/^[0-9]$/"). For a list it is the
//     range of its length, and after "of" that of its items; "unique" precedes it if
//     no two items are equal.
//   - unit: its unit and range for people, if range does not say it.
//   - doc: one line about its meaning. Single quotes enclose code.
//
// Floats are rounded to the stated number of decimals, so that equal images have equal
// bytes. Properties that an image does not have are absent. Texts from the file are
// valid UTF-8 without control characters.
type Metadata struct {
	AnalyzerVersion string `json:"analyzer_version" xmp:"AnalyzerVersion,core" range:"1.." unit:"raised when any value would change for the same bytes" doc:"version of the analyzer"`

	// Title, description and keywords come from the file if it has them: XMP before
	// IPTC before PNG text before EXIF. Otherwise a vision model describes the content, and
	// Captioned lists its texts. What is still missing, the analyzer composes in English from
	// its measurements only, and lists it in Composed: such a text never describes the content
	// of the image or a place.

	Title        string   `json:"title" range:"1..256" unit:"one line, at most 256 bytes" doc:"the file's own title, otherwise that of a vision model, otherwise a composed one, see below"`
	Description  string   `json:"description" range:"1..2048" unit:"at most 2048 bytes" doc:"the file's own description, otherwise that of a vision model, otherwise a composed one"`
	Keywords     []string `json:"keywords" range:"unique 1..64 of 1..256" unit:"at most 64 without duplicates, of at most 256 bytes, together at most 8192" doc:"the file's own keywords, of those with levels the last one, otherwise those of a vision model, otherwise composed ones"`
	KeywordPaths []string `json:"keyword_paths,omitempty" range:"unique 1..64 of 3..512" unit:"at most 64 without duplicates, of at most 512 bytes, together at most 8192; a vertical bar separates the levels" doc:"keywords of the file that have levels, from the first level to the last one, which is also in keywords"`
	Composed     []string `json:"composed,omitempty" range:"unique 1.. of title|description|keywords" doc:"which of the three were composed"`
	AltText      string   `json:"alt_text,omitempty" range:"1..1024" unit:"at most 1024 bytes" doc:"text for people who cannot see the image: XMP Iptc4xmpCore:AltTextAccessibility, otherwise that of a vision model"`
	Captioned    []string `json:"captioned,omitempty" range:"unique 1.. of title|description|keywords|alt_text" doc:"which of the four a vision model wrote, now or before the file was sent"`
	Caption      *Caption `json:"caption,omitempty"`

	DigitalSourceType string    `json:"digital_source_type,omitempty" range:"1..256" unit:"text, usually a URL of the IPTC, at most 256 bytes" doc:"XMP Iptc4xmpExt:DigitalSourceType: how the image itself was made; Imagebatch never writes it"`
	MadeByAI          *MadeByAI `json:"made_by_ai,omitempty"`

	Rating    int      `json:"rating,omitempty" range:"-1|1|2|3|4|5" unit:"1 to 5 stars, −1 rejected; absent when not rated" doc:"XMP xmp:Rating, otherwise EXIF Rating"`
	Copyright string   `json:"copyright,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"XMP dc:rights, otherwise IPTC 2:116, PNG Copyright, EXIF Copyright"`
	Creators  []string `json:"creators,omitempty" range:"unique 1..8 of 1..128" unit:"at most 8 texts of 128 bytes" doc:"XMP dc:creator, otherwise IPTC 2:80, PNG Author, EXIF Artist, XPAuthor"`

	Format         string `json:"format" xmp:"Format,core" range:"jpeg|png" doc:"format of the bytes; the name does not matter"`
	Width          int    `json:"width" xmp:"Width,core" range:"1.." unit:"pixels" doc:"width as displayed, EXIF orientation applied"`
	Height         int    `json:"height" xmp:"Height,core" range:"1.." unit:"pixels" doc:"height as displayed"`
	Shape          string `json:"shape" xmp:"Shape" range:"landscape|portrait|square" doc:"proportions as displayed; square when the sides differ by at most 1 %"`
	Orientation    int    `json:"orientation" range:"1..8" unit:"1 to 8, 1 when the file does not state it" doc:"EXIF orientation of the original; in a JPEG, only if it precedes the first scan; in a PNG, not that of a raw profile, which browsers ignore too"`
	BitDepth       int    `json:"bit_depth" xmp:"BitDepth" range:"1|2|4|8|16" unit:"1, 2, 4, 8, 16" doc:"bits per sample as stored"`
	ColorModel     string `json:"color_model" xmp:"ColorModel" range:"gray|ycbcr|rgb|cmyk|palette" doc:"color model as stored"`
	HasAlpha       bool   `json:"has_alpha" xmp:"HasAlpha" doc:"the file has an alpha channel or a transparent color"`
	AlphaUsed      bool   `json:"alpha_used" xmp:"AlphaUsed" doc:"at least one pixel is not opaque"`
	ICCProfile     string `json:"icc_profile,omitempty" xmp:"ICCProfile" range:"1..128" unit:"text, at most 128 bytes" doc:"description of the embedded ICC profile (tag desc), otherwise the name of its PNG chunk"`
	Progressive    bool   `json:"progressive" xmp:"Progressive" doc:"a progressive JPEG or an interlaced PNG"`
	JPEGQuality    int    `json:"jpeg_quality,omitempty" xmp:"JPEGQuality" range:"1..100" unit:"1 to 100; absent for a PNG, and when no tables are within 3 %" doc:"quality on the scale of the Independent JPEG Group whose quantization tables are nearest to the file's"`
	Animated       bool   `json:"animated" xmp:"Animated" doc:"a PNG with an animation (APNG); its default image is measured"`
	EntropyChecked string `json:"entropy_checked" xmp:"EntropyChecked" range:"full|partial" unit:"'full'; 'partial' for a large progressive JPEG, where only the structure of the finer scans is checked" doc:"how much of the image data was decoded, and so checked for damage"`
	FileSize       int64  `json:"file_size" xmp:"OriginalFileSize,original" range:"1.." unit:"bytes" doc:"size of the original"`
	SHA256         string `json:"sha256" xmp:"OriginalSHA256,core" range:"/^[0-9a-f]{64}$/" unit:"64 hex digits" doc:"SHA-256 of the original"`

	Exif *Exif `json:"exif,omitempty"`

	// The values below describe the working copy: the image upright and scaled down to
	// a long side of at most 320 pixels. Light, sharpness and hashes are computed on a
	// white background, colors from the pixels that are at least half opaque. Samples
	// are taken as sRGB; a profile is not applied.

	MeanColor    string       `json:"mean_color,omitempty" xmp:"MeanColor" range:"/^#[0-9a-f]{6}$/" unit:"'#rrggbb', absent when no pixel is visible" doc:"mean of the sRGB samples"`
	Colors       []ColorShare `json:"dominant_colors,omitempty" range:"1..5"`
	Saturation   float64      `json:"saturation" xmp:"Saturation" range:"0..1" unit:"0 (gray) to 1, 4 decimals" doc:"HSV saturation of all pixels together, weighted by value: Σ(max−min)/Σmax"`
	Colorfulness float64      `json:"colorfulness" xmp:"Colorfulness" range:"0.." unit:"from 0 (gray); 15 slightly, 33 moderately, 59 quite, 109 extremely colorful; 2 decimals" doc:"M̂(3) of Hasler and Süsstrunk, *Measuring colourfulness in natural images*, 2003"`
	Warmth       float64      `json:"warmth" xmp:"Warmth" range:"-1..1" unit:"−1 (cold) to 1 (warm), 4 decimals" doc:"(mean red − mean blue) / 255"`

	Brightness        float64 `json:"brightness" xmp:"Brightness" range:"0..1" unit:"0 (black) to 1 (white), 4 decimals" doc:"mean Rec. 601 luma"`
	Contrast          float64 `json:"contrast" xmp:"Contrast" range:"0..0.5" unit:"0 to 0.5, 4 decimals" doc:"standard deviation of the luma (RMS contrast)"`
	Entropy           float64 `json:"entropy" xmp:"Entropy" range:"0..8" unit:"0 (even) to 8 bits, 3 decimals" doc:"Shannon entropy of the luma's 256 levels"`
	ShadowsClipped    float64 `json:"shadows_clipped" xmp:"ShadowsClipped" range:"0..1" unit:"0 to 1, 4 decimals" doc:"part of the pixels whose luma is at most 4 of 255 as stored, before the conversion to sRGB"`
	HighlightsClipped float64 `json:"highlights_clipped" xmp:"HighlightsClipped" range:"0..1" unit:"0 to 1, 4 decimals" doc:"part of the pixels whose luma is at least 251 of 255 as stored, before the conversion to sRGB"`
	Sharpness         float64 `json:"sharpness" xmp:"Sharpness" range:"0.." unit:"from 0 (flat), no upper end, 2 decimals" doc:"variance of the 4-neighbour Laplacian of the 8-bit luma"`

	// Flags are properties that a person would notice: "screenshot", "blank",
	// "blurred", "dark", "overexposed", "greyscale", "monochrome", in this order. Their
	// rules are in the analyzer and in docs/metadata.md. A doubtful flag is left out.
	Flags []string `json:"flags,omitempty" xmp:"Flags" range:"unique 1.. of screenshot|blank|blurred|dark|overexposed|greyscale|monochrome" doc:"properties that a person notices at a glance, see below"`

	BlurHash  string   `json:"blurhash" xmp:"BlurHash" range:"28..28" unit:"28 characters" doc:"[BlurHash](https://blurha.sh) of the upright image, 4×3 components"`
	ThumbHash string   `json:"thumbhash" xmp:"ThumbHash" range:"/^[A-Za-z0-9+/]{6,34}={0,2}$/" unit:"Base64 of at most 25 bytes" doc:"[ThumbHash](https://evanw.github.io/thumbhash) of the upright image with its transparency"`
	DHash     string   `json:"dhash" xmp:"DHash" range:"/^[0-9a-f]{16}$/" unit:"64 bits, 16 hex digits" doc:"row difference hash of the upright image at 9×8; similar images differ in few bits"`
	PHash     string   `json:"phash" xmp:"PHash" range:"/^[0-9a-f]{16}$/" unit:"64 bits, 16 hex digits" doc:"DCT perceptual hash of the upright image; similar images differ in few bits"`
	Warnings  []string `json:"warnings,omitempty" range:"1..20 of 0..200" unit:"at most 20 texts of 200 bytes" doc:"oddities of the file, and parts that the analyzer could not read"`
}

// Caption is the whole answer of a vision model, also where the file's own texts win. If a model wrote texts of
// the file before it was sent, and no model was asked now, only the model and the language are known.
type Caption struct {
	Model            string   `json:"model" range:"1..256" unit:"text, at most 256 bytes" doc:"the model that wrote the texts listed in captioned"`
	Language         string   `json:"language,omitempty" range:"1..64" unit:"a BCP 47 tag: 'en'" doc:"language of its texts"`
	Title            string   `json:"title,omitempty" range:"1..256" unit:"one line, at most 256 bytes" doc:"the model's title, also if the file has its own"`
	Description      string   `json:"description,omitempty" range:"1..2048" unit:"at most 2048 bytes" doc:"the model's description"`
	Keywords         []string `json:"keywords,omitempty" range:"unique 1..64 of 1..256" unit:"at most 64 without duplicates, of at most 256 bytes" doc:"the model's keywords, the most important first"`
	AltText          string   `json:"alt_text,omitempty" range:"1..1024" unit:"at most 1024 bytes" doc:"the model's alternative text"`
	DurationMS       int      `json:"duration_ms,omitempty" range:"0.." unit:"milliseconds" doc:"time that the model took when it was asked about this image"`
	PromptTokens     int      `json:"prompt_tokens,omitempty" range:"0.." unit:"tokens" doc:"tokens of the request, image included, as the model counted them"`
	CompletionTokens int      `json:"completion_tokens,omitempty" range:"0.." unit:"tokens" doc:"tokens of the answer"`
}

// MadeByAI has the fields of the IPTC Photo Metadata Standard 2025.1 about a program that made the image itself.
// A caption says nothing about the origin of the image, so Imagebatch never writes them.
type MadeByAI struct {
	System        string `json:"system,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"XMP Iptc4xmpExt:AISystemUsed"`
	SystemVersion string `json:"system_version,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"XMP Iptc4xmpExt:AISystemVersionUsed"`
	Prompt        string `json:"prompt,omitempty" range:"1..2048" unit:"text, at most 2048 bytes" doc:"XMP Iptc4xmpExt:AIPromptInformation"`
	PromptWriter  string `json:"prompt_writer,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"XMP Iptc4xmpExt:AIPromptWriterName"`
}

// ColorShare is a color and its share of the image.
type ColorShare struct {
	Hex   string     `json:"hex" xmp:"DominantColors" range:"/^#[0-9a-f]{6}$/" unit:"'#rrggbb'" doc:"most frequent colors, at most five, the most frequent first"`
	Share float64    `json:"share" xmp:"DominantColorShares" range:"0..1" unit:"0 to 1, 4 decimals" doc:"part of the image that the color covers"`
	Name  string     `json:"name" xmp:"DominantColorNames" range:"/^[a-z]+$/" unit:"a CSS name: 'steelblue'" doc:"the named color of CSS Color Module Level 4 that is nearest in CIELAB (ΔE*ab)"`
	Lab   [3]float64 `json:"lab" xmp:"DominantColorLabs" range:"3..3" unit:"L* 0 to 100, a* and b* about −128 to 127, 2 decimals" doc:"the color in CIELAB, white point D65"`
}

// Exif has the camera's EXIF data, as far as it could be read.
type Exif struct {
	CameraMake    string   `json:"camera_make,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"EXIF Make, otherwise XMP tiff:Make"`
	CameraModel   string   `json:"camera_model,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"EXIF Model, otherwise XMP tiff:Model"`
	LensModel     string   `json:"lens_model,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"EXIF LensModel, otherwise XMP exifEX:LensModel, aux:Lens"`
	Software      string   `json:"software,omitempty" range:"1..256" unit:"text, at most 256 bytes" doc:"EXIF Software, otherwise XMP xmp:CreatorTool, PNG Software"`
	TakenAt       string   `json:"taken_at,omitempty" range:"/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})?$/" unit:"'2006-01-02T15:04:05', followed by the time zone when the file states it" doc:"EXIF DateTimeOriginal or CreateDate, otherwise XMP exif:DateTimeOriginal, photoshop:DateCreated, IPTC 2:55 with 2:60"`
	ExposureTime  string   `json:"exposure_time,omitempty" range:"/^[1-9][0-9]*(/[1-9][0-9]*)?$/" unit:"seconds, as a fraction: '1/250'" doc:"EXIF ExposureTime"`
	FNumber       float64  `json:"f_number,omitempty" range:">0..1000" unit:"2 decimals" doc:"EXIF FNumber"`
	ISO           int      `json:"iso,omitempty" range:"1.." unit:"ISO" doc:"EXIF PhotographicSensitivity"`
	ExposureBias  *float64 `json:"exposure_bias,omitempty" range:"-99..99" unit:"EV, −99 to 99, 2 decimals" doc:"EXIF ExposureBiasValue"`
	FocalLength   float64  `json:"focal_length,omitempty" range:">0..100000" unit:"millimeters, 2 decimals" doc:"EXIF FocalLength"`
	FocalLength35 int      `json:"focal_length_35mm,omitempty" range:"1.." unit:"millimeters" doc:"EXIF FocalLengthIn35mmFilm"`
	FlashFired    *bool    `json:"flash_fired,omitempty" doc:"EXIF Flash, bit 0"`
	GPS           *GPS     `json:"gps,omitempty"`
}

// GPS is a position in WGS 84. METADATA_GPS=coarse keeps 2 decimals (about 1 km) and no
// altitude; METADATA_GPS=drop removes the position.
type GPS struct {
	Latitude  float64  `json:"latitude" range:"-90..90" unit:"degrees, north positive, −90 to 90, 6 decimals" doc:"EXIF GPSLatitude, otherwise XMP exif:GPSLatitude"`
	Longitude float64  `json:"longitude" range:"-180..180" unit:"degrees, east positive, −180 to 180, 6 decimals" doc:"EXIF GPSLongitude, otherwise XMP exif:GPSLongitude"`
	Altitude  *float64 `json:"altitude,omitempty" unit:"meters above sea level, 1 decimal" doc:"EXIF GPSAltitude"`
}
