//! Reports of benches as a browser would get them.

use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

/// A report's texts: it must be well-formed, and need nothing that is not in it.
pub struct Report {
    text: String,
    pub num_pictures: usize,
}

impl Report {
    pub fn read(path: &Path) -> Report {
        let html = std::fs::read_to_string(path).unwrap();
        let mut reader = Reader::from_str(&html);
        reader.config_mut().check_end_names = true;
        let mut report = Report { text: String::new(), num_pictures: 0 };
        let mut depth = 0;
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("{error}\n{html}")) {
                Event::Start(element) => {
                    depth += 1;
                    report.num_pictures += usize::from(element.name().as_ref() == b"svg");
                    check_element(&element);
                }
                Event::Empty(element) => check_element(&element),
                Event::End(_) => depth -= 1,
                Event::Text(text) => report.text += &text.xml10_content().unwrap(),
                Event::GeneralRef(name) => {
                    report.text += &format!("&{};", String::from_utf8_lossy(&name));
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0, "every element ends");
        assert!(
            !html.contains("url(") && !html.contains("@import"),
            "a style that loads something"
        );
        report
    }

    pub fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// Nothing is loaded, nothing runs, and nothing leads away.
fn check_element(element: &quick_xml::events::BytesStart<'_>) {
    let name = element.name();
    let name = String::from_utf8_lossy(name.as_ref()).into_owned();
    for forbidden in ["script", "link", "img", "iframe", "object", "a", "image", "use"] {
        assert_ne!(name, forbidden);
    }
    for attribute in element.attributes() {
        let attribute = attribute.unwrap();
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        assert!(!["href", "src", "xlink:href"].contains(&&*key) && !key.starts_with("on"), "{key}");
        let is_namespace = key.starts_with("xmlns");
        let value = String::from_utf8_lossy(&attribute.value);
        assert!(is_namespace || !value.contains("://"), "{name} {key}={value}");
    }
}
