//! The command line: `TABLE --scenario fan8 --pods 128 --depth 512 [--blocks N | --pairs N] [--ms N]`.

use crate::shape::{Scenario, Shape};
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// CPU time of queries, from hashes and from tokens.
    Queries,
    /// The same for indexes far beyond the cache, fewer subjects.
    Large,
    /// Wall time of single queries while events are applied.
    Latency,
    /// Wall time of single queries while a pod is removed.
    Removal,
    /// CPU time of events.
    Updates,
    /// Bytes.
    Memory,
}

pub struct Options {
    pub table: Table,
    pub shape: Shape,
    /// CPU or wall time of one measurement.
    pub ms: u64,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let table = match arguments.next().as_deref() {
            Some("queries") => Table::Queries,
            Some("large") => Table::Large,
            Some("latency") => Table::Latency,
            Some("removal") => Table::Removal,
            Some("updates") => Table::Updates,
            // The same in indexes of two sizes: what is kept may not grow with what was there.
            Some("memory" | "churn") => Table::Memory,
            other => return Err(format!("no table {other:?}")),
        };
        let (mut blocks, mut pairs, mut ms) = (131_072, None, 100);
        let mut shape = Shape { scenario: Scenario::Fan8, pods: 128, depth: 512, groups: 0 };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            match name.as_str() {
                "--scenario" => shape.scenario = scenario(&value)?,
                "--pods" => shape.pods = number(&value)?,
                "--depth" => shape.depth = number(&value)?,
                "--blocks" => blocks = number(&value)?,
                "--pairs" => pairs = Some(number(&value)?),
                "--ms" => ms = number(&value)?,
                _ => return Err(format!("no option {name}")),
            }
        }
        // Fewer conversations than that would be a loop over a cache line or two.
        shape.groups = (blocks / shape.depth).max(16);
        let shape = pairs.map_or(shape, |pairs| shape.with_pairs(pairs));
        Ok(Self { table, shape, ms })
    }
}

fn scenario(name: &str) -> Result<Scenario, String> {
    match name {
        "fan8" => Ok(Scenario::Fan8),
        "tree8" => Ok(Scenario::Tree8),
        "sys8" => Ok(Scenario::Sys8),
        "best8" => Ok(Scenario::Best8),
        _ => Err(format!("no scenario {name}")),
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}
