//! Where a server listens, by its log.

/// The address, if this line says it, as text or as JSON.
pub fn listening_on(line: &str) -> Option<String> {
    let (_, url) = line.split_once("listening on ")?;
    url.split('"').next().map(str::to_owned)
}
