//! What image-spec asks and no single document can show, and where it is seen to instead.
//!
//! | document, heading | sentence | why there is no rule |
//! |---|---|---|
//! | spec.md, "Notational Conventions" | the key words | they say how to read the others |
//! | descriptor.md | "Descriptors SHOULD be embedded in other formats to securely reference external content" | asks authors of formats |
//! | descriptor.md, "Properties" | "Retrieved content SHOULD be verified" | asks readers; `store/verify.rs` does |
//! | descriptor.md, "Properties" | `artifactType` "is the value of the config descriptor `mediaType`" | contradicted by manifest.md, whose `artifactType` differs from it |
//! | descriptor.md, "Reserved" | "field additions … SHOULD first be considered for addition into this specification" | asks authors of specifications; unknown properties are allowed |
//! | descriptor.md, "Digests" | "Implementations SHOULD allow digests with unrecognized algorithms to pass validation" | obeyed: `digest-unregistered` is a warning |
//! | descriptor.md, "Verification" | "the size of the content SHOULD be verified", "Heavy processing … SHOULD be avoided" | asks readers |
//! | descriptor.md, "BLAKE3" | "The hash output length MUST be 256 bits" | is the number of digits, which `digest-encoding` checks |
//! | descriptor.md, "Embedded Content" | "MUST NOT populate the `data` field in situations where doing so would modify existing content identifiers" | the document does not show who wrote it |
//! | descriptor.md, "Embedded Content" | "SHOULD consider portability when deciding whether to embed data" | seen as `document-over-4mib` |
//! | manifest.md | "MUST NOT error on encountering" an unknown type | asks readers; obeyed: there is no such error |
//! | manifest.md | "MUST have the base layer at index 0", "MUST then follow in stack order" | the order of diff IDs is checked against it: `layer-diff-id-mismatch` |
//! | manifest.md | "The final filesystem layout MUST match the result of applying" | asks who unpacks |
//! | image-index.md | "image consumers SHOULD be prepared to process" indexes; "implementations SHOULD understand" | asks readers |
//! | image-index.md | "If multiple manifests match … the first matching entry SHOULD be used" | asks readers |
//! | image-index.md | other `os.features` and variants "SHOULD be submitted to this specification" | a document does not show it; for listed architectures `platform-variant-unknown` |
//! | image-layout.md, "Content" | "A blob … SHOULD be considered opaque" | asks readers |
//! | image-layout.md, "Blobs" | "missing blobs SHOULD be fulfilled by an external blob store" | that store is not known; `blob-missing` |
//! | config.md | "Layers SHOULD be packed and unpacked reproducibly" | asks builders |
//! | config.md | "execution parameters which SHOULD be used", "SHOULD be interpreted as the executable" | asks runtimes |
//! | config.md | "MUST NOT generate an error" for extra fields | obeyed: there is no such error |
//! | annotations.md | "MUST NOT be used by other specifications" | a key does not show who defined it: `annotation-key-reserved` is a warning, since "Consumers MUST NOT generate an error if they encounter an unknown annotation key" |
//! | annotations.md | `base.*` "SHOULD be the immediate image sharing zero-indexed layers" | the base is another image |
//! | annotations.md, "Back-compatibility with Label Schema" | tools "MAY" | asks nothing |
//! | layer.md | tar entries, duplicates, sparse files, whiteouts | they stand in the layer; `conex unpack` sees them |
//! | layer.md | "`urls` … SHOULD NOT be used to determine whether or not a layer is non-distributable" | asks readers |
//! | media-types.md, "Media Type Conflicts" | which type to respect | asks readers; the document's own type is `media-type-mismatch` |
//! | conversion.md | all | asks converters |
//! | considerations.md, "Extensibility" | "MUST NOT modify", "SHOULD NOT generate an error" | asks readers and registries |
//! | considerations.md, "Canonicalization" | "SHOULD use a canonical serialization" | the canonical form of RFC 8785 is a MAY; no other is named |
