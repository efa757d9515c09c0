//! What a run has to have before it begins.
//!
//! Nothing has stopped it, its settings can be read, its folders are its own,
//! and there is a slot and a minute for it.

use crate::fault::Fault;
use crate::logging;
use crate::marks::Marks;
use crate::minute::{Claim, Clock, Minute};
use crate::places::{self, Places, Unusable};
use crate::run::Exit;
use crate::settings::Settings;
use crate::slot::Slot;
use crate::stop::{self, Stop};
use crate::trust;

/// What a run has before it begins: the right to.
pub struct Ready {
    /// What canihaz.toml says.
    pub settings: Settings,
    /// What is wrong with canihaz.toml.
    pub faults: Vec<Fault>,
    /// The wall clock, as it was read once.
    pub clock: Clock,
    /// The minute that is the run's.
    pub minute: Minute,
    /// `None` where it couldn't be written.
    pub claim: Option<Claim>,
    /// Whether state could be written so far.
    pub writable: bool,
    _slot: Slot,
}

/// Looks at everything that may keep a run from beginning.
///
/// # Errors
/// How the run ends that can't begin; why has been logged.
pub fn prepare(places: &Places) -> Result<Ready, Exit> {
    let clock = Clock::read();
    let stop = stop::look(&places.etc);
    let settings = Settings::read(&places.etc);
    logging::start(settings.as_ref().ok().map(|(settings, _)| settings));
    if let Some(stop) = stop {
        // A freeze is silent; a path that can't be examined is for a person to mend.
        let level = if let Stop::Unknown(_) = stop { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "nothing runs: {stop}");
        return Err(Exit::Done);
    }
    if let Err(distrust) = trust::check_folder(&places.etc) {
        log::error!("{} {distrust}: a configuration folder was expected; nothing runs", places.etc.display());
        return Err(Exit::Config);
    }
    let (settings, faults) = settings.map_err(|fault| {
        log::error!("{fault}");
        Exit::Config
    })?;
    let mut writable = prepare_folders(places)?;
    let slot = match Slot::take(&places.lock) {
        Ok(Some(slot)) => slot,
        Ok(None) => return Err(skipped(places, "three copies are running already")),
        Err(error) => {
            log::error!("the slots in {} cannot be used ({error}); nothing runs", places.lock.display());
            return Err(Exit::State);
        }
    };
    let minute = clock.minute();
    let claim = match Claim::stake(&places.state, &minute) {
        Ok(Some(claim)) => Some(claim),
        Ok(None) => return Err(skipped(places, "a run that waited for this minute has it")),
        Err(error) => {
            if std::mem::take(&mut writable) {
                unwritable(places, &error);
            }
            None
        }
    };
    Ok(Ready { settings, faults, clock, minute, claim, writable, _slot: slot })
}

/// Makes the state and lock folders; false when there is no state folder to write to, which a run can do without.
fn prepare_folders(places: &Places) -> Result<bool, Exit> {
    match (places::prepare(&places.state, "CANIHAZ_STATE"), places::prepare(&places.lock, "CANIHAZ_LOCK")) {
        (Ok(()), Ok(())) => Ok(true),
        (Err(unusable @ Unusable::Missing(..)), Ok(())) => {
            log::error!("{unusable}; what is measured is sent from memory");
            Ok(false)
        }
        (Err(unusable), _) | (_, Err(unusable)) => {
            log::error!("{unusable}; nothing runs");
            Err(Exit::State)
        }
    }
}

/// Says that nothing can be kept.
pub fn unwritable(places: &Places, error: &std::io::Error) {
    log::error!("{} cannot be written ({error}); what is measured is sent from memory", places.state.display());
}

/// Leaves a mark that the next run sends as `runs_skipped`.
fn skipped(places: &Places, why: &str) -> Exit {
    log::info!("this run is skipped: {why}");
    match Marks::of_skipped_runs(&places.state).leave() {
        Ok(()) => Exit::Done,
        Err(error) => {
            log::error!("{} cannot be written ({error}); a skipped run is not counted", places.state.display());
            Exit::State
        }
    }
}
