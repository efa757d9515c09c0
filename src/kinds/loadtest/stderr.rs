//! stub
pub struct Stderr;
impl Stderr {
    pub fn new(_: &str) -> Self {
        Self
    }
    pub fn add(&mut self, _: &[u8]) {}
    pub fn end(&mut self) {}
}
