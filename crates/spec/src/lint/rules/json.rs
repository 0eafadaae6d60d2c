//! JSON itself: one document has one reading.

use crate::lint::rule::rules;

rules! {
    "image-spec considerations.md" "JSON" {
        SYNTAX: Error "json-syntax",
            "a document must be one sound JSON value",
            "No two readers agree on what broken JSON means.",
            "Write the document with a JSON library, and nothing before or after it.";
        UTF8: Error "json-utf8",
            "JSON must be encoded in UTF-8",
            "Readers replace, drop or refuse other bytes, so that one digest has several readings.",
            "Encode the document in UTF-8.";
        DUPLICATE_NAME: Error "json-duplicate-name",
            "an object must have no name twice",
            "Some readers take the first value, others the last: a scanner and a runtime may see two images under one digest.",
            "Keep one of the members.";
        NONCHARACTER: Error "json-noncharacter",
            "strings and names must hold no Unicode noncharacters",
            "RFC 7493, section 2.1, which the specification adopts, forbids code points such as U+FFFE; readers drop or refuse them.",
            "Remove the character.";
        NUMBER_PRECISION: Warning "json-number-precision",
            "numbers should fit IEEE 754 double precision",
            "Many readers hold every number as a double and would see another value.",
            "Use a number that a double holds exactly: whole numbers up to 2^53.";
    }
    "RFC 8259" "8.1. Character Encoding" {
        BYTE_ORDER_MARK: Error "json-byte-order-mark",
            "JSON must not start with a byte order mark",
            "Parsers are free to refuse it, and most do.",
            "Remove the first three bytes.";
    }
    "conex" "One reading of a document" {
        CASE_VARIANT: Error "json-case-variant",
            "a name must not differ from a known one only in case",
            "Go's decoder takes `LAYERS` for `layers`, others do not: two readers would see two documents under one digest.",
            "Spell the name as the specification does, or choose one that is really another.";
        NOT_AN_OBJECT: Error "document-not-object",
            "a document must be a JSON object",
            "Every document of the specification is an object; nothing else can be read as one.",
            "Check that this is the right file, and write an object.";
        UNKNOWN: Error "document-unknown",
            "a document must be of a sort that the specification knows",
            "Nothing in it says whether it is a descriptor, an index, a manifest, a config or a layout marker, so no reader knows what to make of it.",
            "Check that this is the right file; where it is, add what is missing, or name its sort with `--as`.";
    }
    "conex" "Limits" {
        TOO_LARGE: Error "document-too-large",
            "a document must have at most 8 MiB",
            "Readers hold documents in memory; larger ones are refused to guard the machine.",
            "Move content out of annotations and `data` into blobs of their own.";
        TOO_DEEP: Error "json-too-deep",
            "JSON must be nested at most 64 levels deep",
            "Deeper nesting exhausts the stack of many parsers; real documents reach about eight levels.",
            "Flatten the document.";
        TOO_MANY: Error "json-too-many-values",
            "a document must have at most 300,000 values, 131,072 of them objects and arrays, and 131,072 members in one object",
            "Small values of a large document need many times its memory; every command has the same limits.",
            "Split the index.";
    }
    "distribution-spec spec.md" "Pushing Manifests" {
        LARGE: Warning "document-over-4mib",
            "a manifest that is to be pushed should have at most 4 MiB",
            "Registries are asked to take manifests of 4 MiB, and many refuse larger ones.",
            "Split the index, or move content out of annotations and `data` (image-spec descriptor.md, \"Embedded Content\").";
    }
}
