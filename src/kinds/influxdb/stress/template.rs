//! Stress tests made of a `stress.toml`.

use std::path::Path;

use super::{
    BasicClient, BasicPointGenerator, BasicProvisioner, BasicQuery, BasicQueryClient, Error, Reader, StressTest, Writer,
};
use crate::keys::Source;
use crate::kinds::influxdb::settings::{Reading, Settings, Writing};

/// What [`StressTest::basic`] is made of.
const TEMPLATE: &str = include_str!("stress.toml");
/// How messages name a text that is no file.
const NAME: &str = "stress.toml";
/// What comes of a text that isn't right.
const NOW: &str = "nothing is tested";

impl StressTest {
    /// The sample of influx_stress, against `localhost:8086`: ten million points, 100 in each of 100,000 series, in
    /// batches of 5,000, ten at once; and beside them 250 queries.
    ///
    /// It **drops the database `stress`** first, and makes it anew. All of it can be changed before it starts.
    ///
    /// ```
    /// use canihaz::influxdb::{BasicProvisioner, StressTest};
    ///
    /// let mut test = StressTest::basic();
    /// assert_eq!(test.writer.as_ref().unwrap().point_generator.count(), Some(10_000_000));
    /// test.provisioner = Some(BasicProvisioner::to("localhost:8086", "stress")?);
    /// assert!(!test.provisioner.unwrap().reset);
    /// # Ok::<_, canihaz::influxdb::Error>(())
    /// ```
    pub fn basic() -> Self {
        Self::from_toml(TEMPLATE).expect("the template is sound, as a test shows")
    }

    /// What a `stress.toml` says, or a type of the kind `influxdb`: README has its keys. Tables that are missing, or say
    /// `enabled = false`, leave their parts out. Files that it names are relative to the current folder.
    ///
    /// `reset_database` drops the database at each start; with `reset_host`, only where that is the name of this server.
    ///
    /// ```
    /// use canihaz::influxdb::StressTest;
    ///
    /// let test = StressTest::from_toml(
    ///     r#"
    ///     [read.query_generator.basic]
    ///     template = "SELECT count(value) FROM cpu WHERE host = 'server-%v'"
    ///     query_count = 10
    ///     [read.query_client.basic]
    ///     addresses = ["localhost:8086"]
    ///     database = "stress"
    ///     "#,
    /// )?;
    /// assert!(test.provisioner.is_none() && test.writer.is_none() && test.reader.is_some());
    ///
    /// let wrong = StressTest::from_toml("[provision.basic]\nadress = \"localhost:8086\"").unwrap_err();
    /// assert!(wrong.to_string().contains("stress.toml:2:1: unknown key \"provision.basic.adress\""), "{wrong}");
    /// # Ok::<_, canihaz::influxdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Settings`]: all that is wrong with it, with line, column, and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let source = Source { file: Path::new(NAME), text, quotes_values: false, now: NOW, now_unknown: NOW };
        let (settings, faults) = source.read(|keys| {
            // A type of the runner has it.
            keys.choice("kind", &[("influxdb", ())]);
            Settings::read(keys)
        });
        match settings.flatten() {
            Some(settings) if faults.is_empty() => Ok(settings.into()),
            _ => Err(Error::Settings(faults)),
        }
    }
}

impl From<Settings> for StressTest {
    fn from(settings: Settings) -> Self {
        let Settings { provisioning, writing, reading, server, .. } = settings;
        let writer = |Writing { points, client }: Writing| {
            let generator = BasicPointGenerator::new(&points, client.precision, client.format);
            Writer::new(generator, BasicClient::new(client, server.clone()))
        };
        let reader = |reading: Reading| {
            let queries = BasicQuery::new(&reading.template, reading.query_count.get());
            Reader::new(queries, BasicQueryClient::new(reading, server.clone()))
        };
        Self {
            provisioner: provisioning.map(|settings| BasicProvisioner::new(settings, server.clone())),
            writer: writing.map(writer),
            reader: reading.map(reader),
        }
    }
}
