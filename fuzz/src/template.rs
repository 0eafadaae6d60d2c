//! A template over data: the first zero byte parts them.

use conex_template::Template;

pub fn render(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(source), data) = (parts.next(), parts.next().unwrap_or(b"{}")) else { return };
    let Ok(source) = std::str::from_utf8(source) else { return };
    let Ok(data) = serde_json::from_slice(data) else { return };
    if let Ok(template) = Template::parse(source) {
        let _ = template.render(&data);
    }
}
