//! What a load test writes on its standard output, and what is made of it.
use crate::golo;
use crate::routes::Routes;
use crate::work::Work;
use std::time::{Duration, SystemTime};
/// x
#[derive(Debug)]
pub struct Answered {
    pub response: golo::Response,
    pub started: SystemTime,
    pub ended: SystemTime,
    pub service: Duration,
}
/// x
#[derive(Default)]
pub struct Taken {
    pub routes: Option<Box<Routes>>,
    pub work: Work,
}
/// x
#[derive(Debug)]
pub struct Intake {}
impl Intake {
    pub fn new(_: &str) -> Self {
        Self {}
    }
    pub fn stdout(&mut self, _: &[u8]) {}
    pub fn ended(&mut self) {}
    pub fn answered(&mut self, _: Answered) {}
    pub fn lose_answer(&mut self) {}
    pub fn take(&mut self) -> Taken {
        Taken::default()
    }
}
