//! Measures canihaz and its peers side by side: pacing, processor time, memory, start-up. See `peers.sh`.
//!
//! Noise comes and goes by the minute, so tools take turns within each repetition, and ratios are those of one
//! repetition. Nothing is asserted: it is a table to look at.

mod canihaz;
mod cores;
mod cost;
mod deviation;
mod machine;
mod nginx;
mod options;
mod row;
mod sample;
mod scene;
mod stamps;
mod table;
mod tool;

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use options::Options;
use sample::Sample;
use scene::Scene;
use tool::{Kind, Tool};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The bench starts itself as its own instruments, which have to be small: before anything else is done.
    let done = match arguments.split_first() {
        Some((role, rest)) if role == cost::ROLE => cost::role(rest),
        Some((role, rest)) if role == stamps::ROLE => stamps::role(rest),
        _ => measure(&Options::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let tools = find(&options.tools)?;
    let mut scenes: Vec<Scene> = Vec::new();
    for scene in options.rows().iter().flat_map(|row| row.scenes(options.rates())) {
        if !scenes.contains(&scene) {
            scenes.push(scene);
        }
    }
    eprintln!("load before: {}", machine::load());
    let mut samples = Vec::new();
    for repetition in 1..=options.repetitions() {
        for scene in &scenes {
            // The one that begins takes what the one before has left of the caches: each begins in turn.
            let mut part: Vec<&Tool> = tools.iter().filter(|tool| tool.takes_part(*scene)).collect();
            let shift = (repetition - 1) as usize % part.len().max(1);
            part.rotate_left(shift);
            for _ in 0..scene.times() {
                for tool in &part {
                    samples.extend(sample(options, repetition, *scene, tool)?);
                }
            }
        }
    }
    eprintln!("load after: {}", machine::load());
    let lines: Vec<table::Line> = options.rows().into_iter().flat_map(|row| row.lines(options.rates())).collect();
    println!("{}", machine::describe(&tools, options.repetitions(), options.length()));
    print!("{}", table::markdown(&lines, &tools, &samples));
    Ok(())
}

/// One run; `None`, and a word about it, of one that came to nothing: the others are worth having.
fn sample(options: &Options, repetition: u32, scene: Scene, tool: &Tool) -> Result<Option<Sample>> {
    let what = format!("{repetition}/{} {scene:?} {}", options.repetitions(), tool.name);
    match Sample::take(tool, scene, options.length(), &options.terms()) {
        Err(error) => {
            eprintln!("{what}: {error:#}");
            Ok(None)
        }
        Ok(sample) => {
            let sample = Sample { repetition, ..sample };
            eprintln!("{what}: {sample}");
            if let Some(path) = &options.raw {
                let file = OpenOptions::new().create(true).append(true).open(path);
                let line = serde_json::to_string(&sample)? + "\n";
                let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
                written.with_context(|| format!("{} can't be written", path.display()))?;
            }
            Ok(Some(sample))
        }
    }
}

/// The tools that are asked for: those have to be there. Unasked, all that are there.
fn find(words: &[String]) -> Result<Vec<Tool>> {
    let mut tools = Vec::new();
    for word in words {
        match Tool::find(word)? {
            Some(tool) => tools.push(tool),
            None => bail!("{word} is not in PATH, and {} does not say where it is", word.to_uppercase()),
        }
    }
    if words.is_empty() {
        for kind in Kind::ALL {
            match Tool::find(kind.name())? {
                Some(tool) => tools.push(tool),
                None => eprintln!("without {}, which is not in PATH", kind.name()),
            }
        }
    }
    Ok(tools)
}
