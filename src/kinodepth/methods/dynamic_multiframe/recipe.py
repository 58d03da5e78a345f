RESNET, B5 = "resnet18.tv_in1k", "tf_efficientnet_b5.ap_in1k"
