# An AWS Auto Scaling group of 0 to `most` machines with one server each, behind a load balancer.
# The values of the model come from terraform.tfvars.json. Set those of the account, below without a default, yourself.
# Without a running machine, a request gets 503 from the load balancer and starts a machine: clients must retry.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

provider "aws" {
  region = var.region
}

# The account.

variable "region" {
  type = string
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  type        = list(string)
  description = "At least two, in different zones; their machines must reach the store and a package index."
}

variable "image_id" {
  type        = string
  description = "A Debian or Ubuntu image with cloud-init and Python 3.11 or newer."
}

variable "instance_type" {
  type = string
}

variable "instance_profile" {
  type        = string
  description = "Name of an instance profile that may read the store, and run the token's command."
}

variable "certificate_arn" {
  type        = string
  default     = null
  description = "Certificate of the load balancer. Without one it uses plain HTTP, and only inside the VPC."
}

variable "clients" {
  type        = list(string)
  description = "Address ranges (CIDR) that may send requests."
}

# The model.

variable "name" {
  type = string
}

variable "port" {
  type = number
}

variable "live_path" {
  type = string
}

variable "min_replicas" {
  type = number
}

variable "max_replicas" {
  type = number
}

variable "response_s" {
  type = number
}

variable "idle_minutes" {
  type        = number
  description = "Idle time before scaling to zero."
}

variable "start_s" {
  type = number
}

variable "queue_per_machine" {
  type = number
}

variable "wait_s" {
  type     = number
  nullable = true
}

variable "spare_minutes" {
  type        = number
  description = "Time with one machine more than needed before it is removed."
}

variable "windows" {
  type = list(object({
    start     = string
    end       = string
    time_zone = string
  }))
}

locals {
  secure    = var.certificate_arn != null
  may_stop  = var.min_replicas == 0
  balancer  = { LoadBalancer = aws_lb.this.arn_suffix }
  grouped   = { AutoScalingGroupName = aws_autoscaling_group.this.name }
  many      = var.max_replicas > 1 ? 1 : 0
  requests  = "FILL(requests, 0) / PERIOD(requests) * FILL(seconds, 0)" # concurrent requests, by Little's law
  needed    = "(${local.requests}) / ${var.queue_per_machine}"
  namespace = "AWS/ApplicationELB"
  rules = {
    more  = { spare = 0, periods = 1 }
    fewer = { spare = 1, periods = var.spare_minutes }
  }
}

# The machines.

resource "aws_launch_template" "this" {
  name_prefix            = "${var.name}-"
  image_id               = var.image_id
  instance_type          = var.instance_type
  update_default_version = true
  user_data              = filebase64("${path.module}/cloud-init.yaml")
  vpc_security_group_ids = [aws_security_group.machine.id]

  iam_instance_profile {
    name = var.instance_profile
  }

  metadata_options {
    http_tokens = "required"
  }
}

resource "aws_autoscaling_group" "this" {
  name                      = var.name
  min_size                  = var.min_replicas
  max_size                  = var.max_replicas
  vpc_zone_identifier       = var.subnet_ids
  target_group_arns         = [aws_lb_target_group.this.arn]
  health_check_type         = "ELB"
  health_check_grace_period = ceil(var.start_s) + 60
  default_instance_warmup   = ceil(var.start_s)
  metrics_granularity       = "1Minute"
  enabled_metrics           = ["GroupInServiceInstances"]

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  lifecycle {
    ignore_changes = [min_size, desired_capacity] # windows and alarms change them
  }
}

# Windows: at least one machine while a window is open.

resource "aws_autoscaling_schedule" "open" {
  for_each               = { for place, window in var.windows : place => window }
  scheduled_action_name  = "${var.name}-open-${each.key}"
  autoscaling_group_name = aws_autoscaling_group.this.name
  recurrence             = each.value.start
  time_zone              = each.value.time_zone
  min_size               = max(1, var.min_replicas)
  max_size               = -1
  desired_capacity       = -1
}

resource "aws_autoscaling_schedule" "close" {
  for_each               = { for place, window in var.windows : place => window }
  scheduled_action_name  = "${var.name}-close-${each.key}"
  autoscaling_group_name = aws_autoscaling_group.this.name
  recurrence             = each.value.end
  time_zone              = each.value.time_zone
  min_size               = var.min_replicas
  max_size               = -1
  desired_capacity       = -1
}

# From none to one, and back.

resource "aws_autoscaling_policy" "wake" {
  count                  = local.may_stop ? 1 : 0
  name                   = "${var.name}-wake"
  autoscaling_group_name = aws_autoscaling_group.this.name
  policy_type            = "SimpleScaling"
  adjustment_type        = "ChangeInCapacity"
  scaling_adjustment     = 1
  cooldown               = ceil(var.start_s) + 60
}

resource "aws_cloudwatch_metric_alarm" "wake" {
  count               = local.may_stop ? 1 : 0
  alarm_name          = "${var.name}-wake"
  alarm_description   = "A request came while no machine was running."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_autoscaling_policy.wake[0].arn]

  metric_query {
    id          = "unanswered"
    expression  = "IF(FILL(machines, 0) < 1, FILL(refused, 0), 0)"
    return_data = true
  }

  metric_query {
    id = "refused"
    metric {
      namespace   = local.namespace
      metric_name = "HTTPCode_ELB_503_Count"
      dimensions  = local.balancer
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "machines"
    metric {
      namespace   = "AWS/AutoScaling"
      metric_name = "GroupInServiceInstances"
      dimensions  = local.grouped
      stat        = "Maximum"
      period      = 60
    }
  }
}

resource "aws_autoscaling_policy" "sleep" {
  count                  = local.may_stop ? 1 : 0
  name                   = "${var.name}-sleep"
  autoscaling_group_name = aws_autoscaling_group.this.name
  policy_type            = "SimpleScaling"
  adjustment_type        = "ExactCapacity"
  scaling_adjustment     = 0 # a window's min_size overrides it
}

resource "aws_cloudwatch_metric_alarm" "sleep" {
  count               = local.may_stop ? 1 : 0
  alarm_name          = "${var.name}-sleep"
  alarm_description   = "No request within the idle time."
  namespace           = local.namespace
  metric_name         = "RequestCount"
  dimensions          = local.balancer
  statistic           = "Sum"
  period              = 60
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = var.idle_minutes
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_autoscaling_policy.sleep[0].arn]
}

# From one to many, and back.

resource "aws_autoscaling_policy" "more" {
  count                  = local.many
  name                   = "${var.name}-more"
  autoscaling_group_name = aws_autoscaling_group.this.name
  policy_type            = "SimpleScaling"
  adjustment_type        = "ChangeInCapacity"
  scaling_adjustment     = 1
  cooldown               = ceil(var.start_s)
}

resource "aws_autoscaling_policy" "fewer" {
  count                  = local.many
  name                   = "${var.name}-fewer"
  autoscaling_group_name = aws_autoscaling_group.this.name
  policy_type            = "SimpleScaling"
  adjustment_type        = "ChangeInCapacity"
  scaling_adjustment     = -1
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each            = { for kind, rule in local.rules : kind => rule if local.many == 1 }
  alarm_name          = "${var.name}-queue-${each.key}"
  alarm_description   = "Machines that the requests need, above or below the running ones."
  comparison_operator = each.key == "more" ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = 0
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = [each.key == "more" ? one(aws_autoscaling_policy.more[*].arn) : one(aws_autoscaling_policy.fewer[*].arn)]

  metric_query {
    id          = "lacking"
    expression  = "IF(FILL(machines, 0) > ${each.value.spare}, ${local.needed} - machines + ${each.value.spare}, 0)"
    return_data = true
  }

  metric_query {
    id = "requests"
    metric {
      namespace   = local.namespace
      metric_name = "RequestCount"
      dimensions  = local.balancer
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "seconds"
    metric {
      namespace   = local.namespace
      metric_name = "TargetResponseTime"
      dimensions  = local.balancer
      stat        = "Average"
      period      = 60
    }
  }

  metric_query {
    id = "machines"
    metric {
      namespace   = "AWS/AutoScaling"
      metric_name = "GroupInServiceInstances"
      dimensions  = local.grouped
      stat        = "Minimum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  count               = var.wait_s == null ? 0 : local.many
  alarm_name          = "${var.name}-latency"
  alarm_description   = "The 95th percentile of response times is above the limit on waits."
  namespace           = local.namespace
  metric_name         = "TargetResponseTime"
  dimensions          = local.balancer
  extended_statistic  = "p95"
  period              = 60
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.wait_s
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_autoscaling_policy.more[0].arn]
}

# Network and load balancer.

resource "aws_lb" "this" {
  name               = var.name
  load_balancer_type = "application"
  internal           = !local.secure
  subnets            = var.subnet_ids
  security_groups    = [aws_security_group.balancer.id]
  idle_timeout       = var.response_s
}

resource "aws_lb_target_group" "this" {
  name                 = var.name
  port                 = var.port
  protocol             = "HTTP"
  vpc_id               = var.vpc_id
  deregistration_delay = var.response_s

  health_check {
    path     = var.live_path
    interval = 10
    timeout  = 5
  }
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  port              = local.secure ? 443 : 80
  protocol          = local.secure ? "HTTPS" : "HTTP"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-balancer-"
  vpc_id      = var.vpc_id

  ingress {
    protocol    = "tcp"
    from_port   = local.secure ? 443 : 80
    to_port     = local.secure ? 443 : 80
    cidr_blocks = var.clients
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "machine" {
  name_prefix = "${var.name}-machine-"
  vpc_id      = var.vpc_id

  ingress {
    protocol        = "tcp"
    from_port       = var.port
    to_port         = var.port
    security_groups = [aws_security_group.balancer.id]
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

output "address" {
  value = "${local.secure ? "https" : "http"}://${aws_lb.this.dns_name}"
}
