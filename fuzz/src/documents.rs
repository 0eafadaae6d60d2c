//! Documents of every kind, from the same bytes.

use conex_spec::document::Format;
use conex_spec::lint::{Context, Form, lint};
use conex_spec::{Descriptor, Document, ImageConfig, ImageIndex, ImageManifest, Manifest};

pub fn all(data: &[u8]) {
    document::<Descriptor>(data);
    document::<ImageIndex>(data);
    document::<ImageManifest>(data);
    document::<ImageConfig>(data);
    for form in [Form::Descriptor, Form::Index, Form::Manifest, Form::Config, Form::Layout] {
        lint(form, data, &Context::default());
    }
    if let Ok(manifest) = Manifest::parse(data.to_vec(), None) {
        for child in manifest.children() {
            let _ = child.embedded();
        }
    }
}

/// What was parsed keeps its bytes; what was edited parses again.
fn document<T: Format + Clone + PartialEq>(data: &[u8]) {
    let Ok(document) = Document::<T>::parse(data.to_vec()) else { return };
    assert_eq!(document.bytes(), data);
    let edited = Document::new(document.value().clone()).expect("what was parsed can be printed");
    let again = Document::<T>::parse(edited.bytes().clone());
    assert!(again.is_ok(), "{}", String::from_utf8_lossy(edited.bytes()));
}
