"""Rules of verifications: what an enrolment, a session or a re-verification came to."""
