//! Charts of Helm: `Chart.yaml`, archives, the images that they name.

use std::io::Write;

use conex_tar::compression::{Encoder, Settings};

use crate::helm::constraint::{Constraint, Version};
use crate::helm::{Chart, archive, images};

/// What is a chart has a config that is one, and a name that is safe as that of a file.
pub fn metadata(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(range) = text.parse::<Constraint>() {
        range.matches(&"1.2.3-rc.1".parse::<Version>().expect("a version"));
    }
    let Ok(mut chart) = Chart::parse(text) else { return };
    let again = Chart::from_config(&chart.config().expect("it prints")).expect("its own config");
    assert_eq!((&again.name, &again.version), (&chart.name, &chart.version));
    assert!(!chart.file_name().contains('/') && chart.tag().is_ok(), "{chart:?}");
    let _ = chart.add_requirements(text);
}

/// The input is a tar, which is compressed here: no fuzzer makes a checksum.
pub fn archived(data: &[u8]) {
    let settings = Settings { level: Some(0), ..Settings::default() };
    let mut encoder = Encoder::new(settings, Vec::new()).expect("an encoder");
    encoder.write_all(data).expect("memory");
    let bytes = encoder.finish().expect("memory");
    let Ok(contents) = archive::read(bytes.as_slice(), "chart") else { return };
    let Ok(names) = images::images(&contents) else { return };
    for named in names.images {
        let _ = named.reference();
    }
}
