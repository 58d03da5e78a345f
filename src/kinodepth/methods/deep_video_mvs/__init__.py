"""DeepVideoMVS (Duzceker et al., CVPR 2021): metric depth online from a posed video stream."""

METHODS: dict = {}
