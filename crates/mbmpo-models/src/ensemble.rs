use crate::cpu_network::CpuNetwork;
use crate::fit::{self, MemberReport};
use crate::network::{Initial, Network};
use crate::normalizer::Normalization;
use crate::tensor_network::TensorNetwork;
use crate::{EnsembleConfig, Predictor};
use burn::tensor::Device;
use mbmpo_core::{
    Archive, Checked, Error, FitReport, LearnedModel, Persist, Purpose, Result, Streams,
    Trajectories, is_cpu,
};
use rayon::prelude::*;

/// K dynamics networks trained on different splits of the same data (section 4.1 of the paper).
#[derive(Debug, Clone)]
pub struct Ensemble {
    config: Checked<EnsembleConfig>,
    observation_dim: usize,
    action_dim: usize,
    device: Device,
    networks: Vec<Box<dyn Network>>,
    normalization: Normalization,
}

impl Ensemble {
    /// Untrained networks, with Glorot-uniform weights from the streams of
    /// [`Purpose::ModelWeights`].
    pub fn new(
        config: Checked<EnsembleConfig>,
        observation_dim: usize,
        action_dim: usize,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let mut sizes = vec![observation_dim + action_dim];
        sizes.extend(&config.hidden);
        sizes.push(observation_dim);
        let networks = (0..config.members).map(|member| {
            let mut stream = streams.stream(Purpose::ModelWeights, 0, member as u64);
            let initial = Initial::layers(&sizes, config.weight_normalization, &mut stream);
            if is_cpu(device) {
                Box::new(CpuNetwork::new(initial)) as Box<dyn Network>
            } else {
                Box::new(TensorNetwork::new(&initial, device))
            }
        });
        Self {
            networks: networks.collect(),
            config,
            observation_dim,
            action_dim,
            device: device.clone(),
            normalization: Normalization::identity(observation_dim, action_dim),
        }
    }
}

impl LearnedModel for Ensemble {
    type Frozen = Predictor;

    fn members(&self) -> usize {
        self.networks.len()
    }

    /// Fits every member to `data`, starting from the weights and Adam's moments of the last fit
    /// (A.3: "warm starts").
    ///
    /// The statistics for standardising are those of `data`. Every member splits the data by its
    /// own stream ([`Purpose::Fit`], `iteration`, member) and stops by its own validation loss.
    /// Members train in parallel; the result does not depend on the number of threads.
    ///
    /// # Errors
    /// When the data have other dimensions than the networks or are too few to split, or when a
    /// loss is not finite. The ensemble is then as it was.
    fn fit(&mut self, data: &Trajectories, streams: &Streams, iteration: u64) -> Result<FitReport> {
        Error::check_shape(
            "observation components of the data",
            self.observation_dim,
            data.observation_dim,
        )?;
        Error::check_shape(
            "action components of the data",
            self.action_dim,
            data.action_dim,
        )?;
        fit::split_point(data.len(), self.config.validation_share)?;
        let (normalization, table) = Normalization::of(data);
        let fitted = self
            .networks
            .par_iter()
            .with_max_len(1)
            .enumerate()
            .map(|(member, network)| {
                let mut stream = streams.stream(Purpose::Fit, iteration, member as u64);
                let network = network.clone();
                fit::fit(member, network, &table, &self.config, &mut stream)
            })
            .collect::<Result<Vec<_>>>()?;
        let (networks, reports): (Vec<_>, Vec<MemberReport>) = fitted.into_iter().unzip();
        self.networks = networks;
        self.normalization = normalization;
        Ok(FitReport {
            train_loss: reports.iter().map(|report| report.train_loss).collect(),
            validation_loss: reports
                .iter()
                .map(|report| report.validation_loss)
                .collect(),
            epochs: reports.iter().map(|report| report.epochs).collect(),
        })
    }

    /// The members with everything folded into plain weights.
    fn freeze(&self) -> Result<Predictor> {
        let networks = self.networks.iter();
        let members = networks
            .map(|network| Ok(self.normalization.fold(network.affine()?)))
            .collect::<Result<_>>()?;
        Ok(Predictor::new(members, &self.device))
    }
}

impl Persist for Ensemble {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        for (member, network) in self.networks.iter_mut().enumerate() {
            archive.part(&member.to_string(), network.as_mut())?;
        }
        archive.part("normalization", &mut self.normalization)
    }
}
