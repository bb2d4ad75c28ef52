"""What Voila talks to kernels with in the tests, see tools/patient_kernel.py."""

from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from patient_kernel import PatientManager


class PatientServerManager(PatientManager, ServerKernelManager):
    """A server's manager of kernels whose clients do not miss a reply."""
