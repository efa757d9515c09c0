//! Hits one target as its pacer says.

/// What a due hit does when `overtime` hits are in flight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenBusy {
    /// It waits for one to end; the hits behind it catch up, evenly.
    #[default]
    Wait,
    /// It is skipped and counted as canceled: an open model.
    Cancel,
}
