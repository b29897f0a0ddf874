//! `man`: the manual pages, written from what the command line itself says.

use std::path::Path;

use clap::CommandFactory as _;
use serde_json::json;

use super::args::Cli;
use super::exit::{Ending, Exit, Failure, Report};

/// Writes a page for the program and one for each command into a folder that exists.
pub(crate) fn execute(folder: &Path) -> Ending {
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
        let text = format!("the manual pages cannot be written to {}: {error}", folder.display());
        Failure::new(Exit::Failed, text).hint("name a folder that exists and can be written to")
    })?;
    let text = format!("the manual pages stand in {}\n", folder.display());
    Ok(Report::done(text, json!({"folder": folder})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_each_command_have_a_page() {
        let folder = tempfile::tempdir().unwrap();
        execute(folder.path()).unwrap_or_else(|failure| panic!("{failure}"));
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page("teardownd.1").contains("Partner Center integration sandbox"));
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(page(&format!("teardownd-{name}.1")).contains("SYNOPSIS"), "{name}");
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        let failure = execute(Path::new("/no/such/folder")).unwrap_err();
        assert!(failure.to_string().contains("/no/such/folder"), "{failure}");
    }
}
